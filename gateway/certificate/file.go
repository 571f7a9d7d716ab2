package certificate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// file is a certificate of two files.
type file struct {
	chain, key           string
	chainBytes, keyBytes []byte
	entry                *entry
}

// AddFiles takes a certificate from files, for all the names that it has. The first one
// that is added is shown to callers who ask for a name that nobody has.
func (s *Store) AddFiles(chain, key string) error {
	f := &file{chain: chain, key: key}
	if _, err := f.read(s); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, f)
	if s.fallback == nil {
		s.fallback = f.entry
	}
	s.build()
	return nil
}

// Reload reads the files again. A pair that is not sound is left as it was, and the error
// says why. It is cheap if nothing has changed, so it may be called by the clock.
func (s *Store) Reload() error {
	s.mu.Lock()
	files := append([]*file(nil), s.files...)
	s.mu.Unlock()
	var errs []error
	fresh := make([]*file, len(files))
	changed := false
	for i, old := range files {
		next := &file{chain: old.chain, key: old.key, chainBytes: old.chainBytes, keyBytes: old.keyBytes, entry: old.entry}
		new, err := next.read(s)
		if err != nil {
			errs = append(errs, err)
			next = old
		}
		changed, fresh[i] = changed || new, next
	}
	if changed {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Files are only ever added, at the end.
		s.files = append(fresh, s.files[len(files):]...)
		s.fallback = s.files[0].entry
		s.build()
	}
	return errors.Join(errs...)
}

// read reads the files, and reports whether they have changed.
func (f *file) read(s *Store) (changed bool, err error) {
	chain, err := os.ReadFile(f.chain)
	if err != nil {
		return false, fmt.Errorf("certificate: %w", err)
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return false, fmt.Errorf("certificate: %w", err)
	}
	if bytes.Equal(chain, f.chainBytes) && bytes.Equal(key, f.keyBytes) {
		return false, nil
	}
	parsed, err := parseChain(chain)
	if err != nil {
		return false, fmt.Errorf("certificate %s: %w", f.chain, err)
	}
	names := parsed[0].DNSNames
	cert, err := Check(Upload{Domains: names, Chain: chain, Key: key}, s.now())
	var late *TimeError
	if err != nil && !errors.As(err, &late) { // the operator's own files are shown all the same
		return false, fmt.Errorf("certificate %s: %w", f.chain, err)
	}
	f.chainBytes, f.keyBytes, f.entry = chain, key, &entry{source: f.chain, names: names, cert: cert}
	return true, nil
}
