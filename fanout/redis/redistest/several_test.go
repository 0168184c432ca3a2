package redistest

import (
	"strings"
	"testing"
)

func TestStartSentinel(t *testing.T) {
	t.Parallel()
	w := StartSentinel(t)
	w.WaitMaster(w.Master)
	if role := w.Replica.Do("ROLE"); !strings.HasPrefix(role, "slave") {
		t.Errorf("the replica is %q", role)
	}
}

func TestStartCluster(t *testing.T) {
	t.Parallel()
	c := StartCluster(t)
	c.MoveSlots(c.Masters[0], c.Masters[1], 7)
	if nodes := c.Masters[0].Do("CLUSTER", "NODES"); !strings.Contains(nodes, "0-6 8-5460") {
		t.Errorf("slot 7 did not move:\n%s", nodes)
	}
}
