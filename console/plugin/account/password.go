package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/souk-market/souk/console/market"
)

// argon2id by RFC 9106's second recommendation scaled to what security.md B1 asks: 19 MiB,
// two passes, one lane. The figures stand in the hash, so they may grow.
const (
	hashMemory = 19 * 1024
	hashTime   = 2
	hashBytes  = 32
	saltBytes  = 16
)

// hashPassword takes about 55 ms; at most two run at once, so that a flood of sign-ins
// takes neither the memory nor both cores.
func (p *Plugin) hashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	sum, err := p.argon(ctx, password, salt)
	if err != nil {
		return "", err
	}
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, hashMemory, hashTime, enc(salt), enc(sum)), nil
}

func (p *Plugin) argon(ctx context.Context, password string, salt []byte) ([]byte, error) {
	select {
	case p.hashing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.hashing }()
	return argon2.IDKey([]byte(password), salt, hashTime, hashMemory, 1, hashBytes), nil
}

// nobody is hashed when there is no such account, so that the time does not tell.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// rightPassword compares in constant time.
func (p *Plugin) rightPassword(ctx context.Context, hash, password string) (bool, error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 {
		return false, fmt.Errorf("a stored password hash has %d parts", len(parts))
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, err
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil {
		return false, err
	}
	got, err := p.argon(ctx, password, salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// newSecret is a token of 256 random bits behind a mark.
func newSecret(mark string) string {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails on a supported system
	}
	return mark + base64.RawURLEncoding.EncodeToString(b[:])
}

// tokenHash is how tokens are found; they have 256 random bits, so a plain hash will do.
func tokenHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}

// How many sign-ins may fail within window, for one account and for one address.
const (
	triesPerEmail   = 10
	triesPerAddress = 50
	triesWindow     = 15 * time.Minute
	triesKept       = 10_000 // keys; above it the table is emptied of old ones, then refuses new ones
)

// tries counts failed sign-ins.
type tries struct {
	mu     *sync.Mutex
	failed map[string]*window
}

type window struct {
	began time.Time
	n     int
}

func newTries() tries { return tries{mu: new(sync.Mutex), failed: map[string]*window{}} }

// allow refuses with Slow if the key has failed too often.
func (t tries) allow(now time.Time, key string, most int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.failed[key]
	if w == nil || now.Sub(w.began) >= triesWindow || w.n < most {
		return nil
	}
	after := int(triesWindow.Seconds() - now.Sub(w.began).Seconds() + 1)
	return &market.Error{Kind: market.Slow, Code: "account.too_many_tries", After: after,
		Args: map[string]string{"minutes": fmt.Sprint((after + 59) / 60)}}
}

func (t tries) fail(now time.Time, key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.failed[key]
	if w == nil || now.Sub(w.began) >= triesWindow {
		if len(t.failed) >= triesKept {
			for k, old := range t.failed {
				if now.Sub(old.began) >= triesWindow {
					delete(t.failed, k)
				}
			}
		}
		if len(t.failed) >= triesKept {
			return
		}
		w = &window{began: now}
		t.failed[key] = w
	}
	w.n++
}

func (t tries) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failed, key)
}
