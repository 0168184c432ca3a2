package abuse

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

var (
	full  = flag.Bool("full", false, "attack at full scale, one after the other: minutes instead of seconds")
	given = flag.String("gateway", "", "the `binary` to attack, instead of one that is built")
)

// binary is the path of the gateway.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	// At the small scale most attacks mostly wait, so they run in parallel. At full scale an attack must not disturb the
	// bystander of another.
	parallel := "6"
	if *full {
		parallel = "1"
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary = *given; binary == "" {
		dir, err := os.MkdirTemp("", "abuse")
		if err == nil {
			defer os.RemoveAll(dir) //nolint:errcheck // a directory for the length of the run
			binary, err = gatewaytest.Build(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// scale returns one of two values: the first at the small scale, the second with -full.
func scale[T any](reduced, whole T) T {
	if *full {
		return whole
	}
	return reduced
}

// tooLate reports whether something took longer than it may. Without -full these tests run beside all others, so there is
// more time for a busy machine; then a test judges that the answer comes, and which client is affected.
func tooLate(took, within time.Duration) bool {
	return took > within+scale(8*time.Second, 0)
}
