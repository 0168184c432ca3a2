package abuse

import (
	"flag"
	"fmt"
	"os"
	"testing"

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
func scale(reduced, whole int) int {
	if *full {
		return whole
	}
	return reduced
}
