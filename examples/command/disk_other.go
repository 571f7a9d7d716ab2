//go:build !linux && !darwin && !freebsd

package command

import "errors"

// diskFree is how many bytes may still be written where a folder is.
func diskFree(string) (uint64, error) { return 0, errors.ErrUnsupported }
