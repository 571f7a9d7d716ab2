//go:build !unix || aix || solaris || illumos

package journal

import "os"

// Where files are not mapped, a record is written to its file with one call to the system.

func mapped(f *os.File, size int) ([]byte, error) {
	mem := make([]byte, size)
	_, err := f.ReadAt(mem, 0)
	return mem, err
}

func unmapped([]byte) error { return nil }

func (s *segment) sync(from, to int64) error {
	_, err := s.file.WriteAt(s.mem[from:to], from)
	return err
}
