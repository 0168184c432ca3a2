package server

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// childEnv names the part that a child process plays: tests that need a process of their own (a file limit, a crash)
// run the test binary again with it set.
const childEnv = "CARILLON_TEST_CHILD"

// children are those parts, by name. Their result is the exit status.
var children = map[string]func() int{
	"gnet-emfile":   childGnetEMFILE,
	"gnet-panic":    childGnetPanic,
	"gnet-enroll":   childEnrollOnEndedEngine,
	"server-emfile": childServerEMFILE,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		child, known := children[name]
		if !known {
			fmt.Fprintln(os.Stderr, "no such child:", name)
			os.Exit(2)
		}
		os.Exit(child())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil { // the tests wait far more than they work
		panic(err)
	}
	// A loop that waits in epoll keeps its processor until the runtime takes it away. There are many loops here: with
	// few processors every test would wait for that.
	runtime.GOMAXPROCS(24)
	goleak.VerifyTestMain(m,
		// gnet keeps one worker pool a process, made in an init function and never released: two goroutines that
		// look after it, and the workers that enrolled the self-wakes, which end 10 s after they were last used.
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
	)
}
