package settings

import "testing"

func TestDefaultRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		connections, channels int
		want                  float64
	}{
		{10000, 1, 1},
		{9999, 1, 2},
		{20000, 1, 1},
		{19000, 1, 1},
		{1_000_000, 1, 1},
		{1000, 1, 19},
		{100, 1, 199},
		{10000, 1000, 1000},
		{10000, 10000, 1000},
		{1, 1, 1000},
	} {
		got := DefaultRate(tt.connections, tt.channels)
		if got != tt.want {
			t.Errorf("defaultRate(%d, %d) = %v, want %v", tt.connections, tt.channels, got, tt.want)
		}
		if perChannel := float64(tt.connections) / float64(tt.channels); got > 1 && got*perChannel >= maxDefaultDeliveries {
			t.Errorf("defaultRate(%d, %d) asks for %v deliveries/s", tt.connections, tt.channels, got*perChannel)
		}
	}
}
