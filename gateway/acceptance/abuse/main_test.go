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
	// At the reduced scale most attacks wait more than they work; at full scale none shall disturb another's bystander.
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

// scale is how much of something an attack has.
func scale[T any](reduced, whole T) T {
	if *full {
		return whole
	}
	return reduced
}

// tooLate reports whether something took longer than it may. Without -full these tests run beside all others, and a busy
// machine is given time on top: what is judged then is that it comes at all, and who pays for it.
func tooLate(took, within time.Duration) bool {
	return took > within+scale(8*time.Second, 0)
}
