//go:build unix

package command

import (
	"os"
	"os/signal"
	"syscall"
)

// onUpgrade sends on c whenever the program is told to start its next version. The returned
// function ends that.
func onUpgrade(c chan<- os.Signal) (stop func()) {
	signal.Notify(c, syscall.SIGUSR2)
	return func() { signal.Stop(c) }
}
