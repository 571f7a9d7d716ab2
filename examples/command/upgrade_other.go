//go:build !unix

package command

import "os"

// onUpgrade does nothing where there is no such signal.
func onUpgrade(chan<- os.Signal) (stop func()) { return func() {} }
