package redis

import (
	"testing"

	"go.uber.org/goleak"
)

// go-redis looks for a server that is gone until up to a second after its client has been closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
