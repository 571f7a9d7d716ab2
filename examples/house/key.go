package house

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KeyFile is the name of the master key's file in the data folder.
const KeyFile = "souk.key"

const keySize = 32

// ParseKey reads a master key as it is written: 64 hexadecimal digits.
func ParseKey(text string) ([]byte, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("a master key has %d hexadecimal digits", 2*keySize)
	}
	return key, nil
}

// FindKey reads the master key of a data folder; fs.ErrNotExist if there is none yet.
func FindKey(folder string) ([]byte, error) {
	path := filepath.Join(folder, KeyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// key is the master key of a data folder, made at the first start. A folder that has
// databases but no key is refused: with another key nobody's secrets could be read.
func key(folder string) ([]byte, error) {
	k, err := FindKey(folder)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if _, err := os.Stat(filepath.Join(folder, GatewayFile)); err == nil {
		return nil, fmt.Errorf("%s is missing though %s is there; put the key back, or give it in SOUK_MASTER_KEY",
			filepath.Join(folder, KeyFile), GatewayFile)
	}
	k = make([]byte, keySize)
	if _, err := rand.Read(k); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(folder, KeyFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return FindKey(folder)
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(hex.EncodeToString(k) + "\n")
	return k, errors.Join(err, f.Sync(), f.Close())
}

// derive makes a key for one purpose, so that none of them tells about another.
func derive(master []byte, purpose string) []byte {
	m := hmac.New(sha256.New, master)
	m.Write([]byte("souk/" + purpose))
	return m.Sum(nil)
}
