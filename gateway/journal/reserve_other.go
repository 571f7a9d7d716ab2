//go:build !linux

package journal

import "os"

// reserve leaves it to the writing that follows.
func reserve(*os.File, int64) error { return nil }
