package server

import "testing"

// TestFilesForIsExact: the limit that it names is enough, and one file less is not.
func TestFilesForIsExact(t *testing.T) {
	t.Parallel()
	for _, connections := range []int{1, 100, 3000, 4096, 1_000_000} {
		for _, loops := range []int{1, 2, 64} {
			const others = 200
			limit := FilesFor(connections, loops, others)
			if limit-reserve(loops, others, limit) < connections || limit-1-reserve(loops, others, limit-1) >= connections {
				t.Errorf("FilesFor(%d, %d) = %d leaves %d, one less %d", connections, loops, limit,
					limit-reserve(loops, others, limit), limit-1-reserve(loops, others, limit-1))
			}
		}
	}
}
