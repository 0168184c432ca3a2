//go:build !loopcheck

package server

// loopOwner proves, under the build tag loopcheck, that a loop's state is touched by its own goroutine only.
type loopOwner struct{}

func (loopOwner) adopt()   {}
func (loopOwner) disown()  {}
func (loopOwner) mustOwn() {}
