package ledger

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/souk-market/souk/gateway/storage"
)

// ErrWrongKey: the database was made with another master key.
var ErrWrongKey = errors.New("ledger: the master key is not the one that this database was made with; give the right one, or the secrets in it cannot be read")

// safe seals secrets with keys derived from the master key, which is never in the
// database: AES-256-GCM, bound to the app and to what the secret is (security.md K1), and
// an HMAC by which AppCodes are found without being readable (K3).
type safe struct {
	seal cipher.AEAD
	macs sync.Pool // of hash.Hash, keyed: to make one for each call costs half a microsecond

	fileKey []byte // of the seal of the last configuration's file
}

func newSafe(master []byte) (*safe, error) {
	if len(master) != 32 {
		return nil, fmt.Errorf("ledger: the master key has %d bytes, 32 are needed", len(master))
	}
	block, err := aes.NewCipher(derive(master, "souk gateway: seal"))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	key := derive(master, "souk gateway: find app code")
	return &safe{seal: aead, fileKey: derive(master, "souk gateway: configuration file"), macs: sync.Pool{New: func() any { return &keyed{Hash: hmac.New(sha256.New, key)} }}}, err
}

func derive(master []byte, what string) []byte {
	m := hmac.New(sha256.New, master)
	m.Write([]byte(what))
	return m.Sum(nil)
}

// close seals a secret; what and whose it is are bound to it.
func (s *safe) close(secret, what, whose string) []byte {
	nonce := make([]byte, s.seal.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		panic(err) // crypto/rand never fails on a supported system
	}
	return s.seal.Seal(nonce, nonce, []byte(secret), []byte(what+"\x00"+whose))
}

// open reads what close wrote. A secret of another app or kind does not open.
func (s *safe) open(sealed []byte, what, whose string) (string, error) {
	n := s.seal.NonceSize()
	if len(sealed) < n {
		return "", errors.New("ledger: a sealed secret is cut short")
	}
	b, err := s.seal.Open(nil, sealed[:n], sealed[n:], []byte(what+"\x00"+whose))
	if err != nil {
		return "", fmt.Errorf("ledger: the %s of %s does not open: it was altered, or sealed with another key", what, whose)
	}
	return string(b), nil
}

// codeMAC is the key by which an AppCode is found.
func (s *safe) codeMAC(code []byte) [sha256.Size]byte {
	m := s.macs.Get().(*keyed)
	defer s.macs.Put(m)
	m.Reset()
	m.Write(code)
	m.Sum(m.sum[:0])
	return m.sum
}

// keyed is a hash with room for its sum, so that finding an AppCode allocates nothing.
type keyed struct {
	hash.Hash
	sum [sha256.Size]byte
}

// checkKey seals a known word at the first start, and opens it at every later one.
func (s *safe) checkKey(ctx context.Context, db *storage.DB) error {
	const word = "souk"
	var sealed []byte
	err := db.Read().QueryRow(ctx, `SELECT value FROM gw_meta WHERE name = 'key'`).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return db.Tx(ctx, func(tx *storage.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO gw_meta (name, value) VALUES ('key', ?) ON CONFLICT DO NOTHING`, s.close(word, "key", "check"))
			return err
		})
	}
	if err != nil {
		return err
	}
	if got, err := s.open(sealed, "key", "check"); err != nil || got != word {
		return ErrWrongKey
	}
	return nil
}
