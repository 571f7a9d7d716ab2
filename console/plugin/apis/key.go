package apis

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// signKey is a seller's key of backend signatures (签名密钥). Its values are the gateway's.
type signKey struct {
	ID       string
	Seller   market.AccountID
	Name     string
	Versions []keyVersion // the oldest first; one at least
	Created  int64
}

// keyVersion is one value that a key had, has or will have.
type keyVersion struct {
	N      int              `json:"n"`
	Secret control.SecretID `json:"secret"`
	From   time.Time        `json:"from"`
}

// signing binds a key to a group.
type signing struct {
	Key     string   `json:"key"`
	Headers []string `json:"headers,omitempty"` // signed beside the gateway's own
	Digest  bool     `json:"digest,omitempty"`  // the body is always signed
}

// label is what the seller reads in X-Ca-Proxy-Signature-Secret-Key.
func (k *signKey) label(v keyVersion) string { return k.ID + "-" + strconv.Itoa(v.N) }

// live are the versions from the one in use on.
func (k *signKey) live(now time.Time) []keyVersion {
	first := 0
	for n, v := range k.Versions {
		if !v.From.After(now) {
			first = n
		}
	}
	return k.Versions[first:]
}

type usedKey struct {
	ID     string           `json:"id"`
	Secret control.SecretID `json:"secret"`
	From   *time.Time       `json:"from,omitempty"`
}

// use is the list of keys in the setting of the filter sign.
func (k *signKey) use(now time.Time) (list []usedKey) {
	for n, v := range k.live(now) {
		u := usedKey{ID: k.label(v), Secret: v.Secret}
		if n > 0 {
			u.From = &v.From
		}
		list = append(list, u)
	}
	return list
}

// The gateway takes no shorter value.
const (
	valueMin = 16
	valueMax = 1024
	keysMax  = 50
)

// makeValue is 32 random bytes as text.
func makeValue() string {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails on a supported system
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func valueFor(given string, form *market.Form) string {
	if given == "" {
		return makeValue()
	}
	form.Check(len(given) >= valueMin && len(given) <= valueMax, "value", "apis.key_value", "min", strconv.Itoa(valueMin), "max", strconv.Itoa(valueMax))
	return given
}

// MakeKey makes a key; the value is told once and never again.
func (p *Plugin) MakeKey(ctx context.Context, who *market.Actor, name, value string) (k *signKey, shown string, err error) {
	var form market.Form
	name = strings.TrimSpace(name)
	n := utf8.RuneCountInString(name)
	form.Check(n >= 1 && n <= nameMax, "name", "apis.name", "max", strconv.Itoa(nameMax))
	value = valueFor(value, &form)
	have, err := listKeys(ctx, p.db.Read(), who.Account)
	if err != nil {
		return nil, "", err
	}
	form.Check(len(have) < keysMax, "name", "apis.too_many", "max", strconv.Itoa(keysMax))
	if err := form.Err(); err != nil {
		return nil, "", err
	}
	now := p.now()
	k = &signKey{ID: market.NewID("key", now), Seller: who.Account, Name: name, Created: storage.Millis(now)}
	k.Versions = []keyVersion{{N: 1, Secret: control.SecretID(market.NewID("sec", now)), From: now}}
	if err := p.gateway.Apply(ctx, &control.Secret{ID: k.Versions[0].Secret, Name: name, Value: []byte(value), Live: true}); err != nil {
		return nil, "", refused(err, "value")
	}
	return k, value, p.db.Tx(ctx, func(tx *storage.Tx) error { return saveKey(ctx, tx, k) })
}

// RotateKey gives a key a new value that is used from some time on, so that the seller can
// teach it to his servers first. A value that was waiting for its time is replaced.
func (p *Plugin) RotateKey(ctx context.Context, who *market.Actor, id, value string, after time.Duration) (k *signKey, shown string, err error) {
	var form market.Form
	value = valueFor(value, &form)
	form.Check(after >= 0 && after <= 30*24*time.Hour, "after_hours", "apis.key_after")
	if err := form.Err(); err != nil {
		return nil, "", err
	}
	if k, err = findKey(ctx, p.db.Read(), who.Account, id); err != nil {
		return nil, "", err
	}
	now := p.now()
	next := keyVersion{N: k.Versions[len(k.Versions)-1].N + 1, Secret: control.SecretID(market.NewID("sec", now)), From: now.Add(after)}
	if err := p.gateway.Apply(ctx, &control.Secret{ID: next.Secret, Name: k.Name, Value: []byte(value), Live: true}); err != nil {
		return nil, "", refused(err, "value")
	}
	was := k.Versions
	k.Versions = append(k.live(now)[:1:1], next)
	if after == 0 {
		k.Versions = k.Versions[1:]
	}
	if err := p.db.Tx(ctx, func(tx *storage.Tx) error { return saveKey(ctx, tx, k) }); err != nil {
		return nil, "", err
	}
	if err := p.republish(ctx, who, id); err != nil {
		return nil, "", err
	}
	for _, v := range was {
		if v.Secret == k.Versions[0].Secret {
			continue // it signs until the new one's time has come
		}
		if err := p.erase(ctx, v.Secret); err != nil {
			return nil, "", err
		}
	}
	return k, value, nil
}

// DropKey forgets a key that signs nothing.
func (p *Plugin) DropKey(ctx context.Context, who *market.Actor, id string) error {
	k, err := findKey(ctx, p.db.Read(), who.Account, id)
	if err != nil {
		return err
	}
	groups, err := list(ctx, p.db.Read(), who.Account)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Config.uses(k) {
			return &market.Error{Kind: market.Conflict, Code: "apis.key_used", Args: map[string]string{"group": g.Name.In("zh")}}
		}
	}
	err = p.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM apis_key WHERE id = ? AND seller = ?`, id, who.Account)
		return err
	})
	for _, v := range k.Versions {
		if err == nil {
			err = p.erase(ctx, v.Secret)
		}
	}
	return err
}

// uses reports whether a group signs with a key or names one of its values in a filter.
func (c *config) uses(k *signKey) bool {
	if c.Sign != nil && c.Sign.Key == k.ID {
		return true
	}
	for _, f := range c.Filters {
		for _, v := range k.Versions {
			if strings.Contains(string(f.With), string(v.Secret)) {
				return true
			}
		}
	}
	return false
}

// erase writes over a secret that nobody uses any more; the gateway takes no empty one.
func (p *Plugin) erase(ctx context.Context, id control.SecretID) error {
	return p.gateway.Apply(ctx, &control.Secret{ID: id, Name: "erased", Value: []byte(makeValue()), Live: false})
}

// republish tells the gateway of all groups that sign with a key.
func (p *Plugin) republish(ctx context.Context, who *market.Actor, key string) error {
	groups, err := list(ctx, p.db.Read(), who.Account)
	for _, g := range groups {
		if err == nil && g.Config.Sign != nil && g.Config.Sign.Key == key {
			err = p.publish(ctx, g.ID)
		}
	}
	return err
}

// owns says of an ID whether it is a secret of the seller's that is in use.
func (p *Plugin) owns(ctx context.Context, seller market.AccountID) (func(string) bool, error) {
	keys, err := listKeys(ctx, p.db.Read(), seller)
	return func(secret string) bool {
		for _, k := range keys {
			for _, v := range k.Versions {
				if string(v.Secret) == secret {
					return true
				}
			}
		}
		return false
	}, err
}

const keyColumns = `id, seller, name, versions, created`

func scanKey(scan func(...any) error) (*signKey, error) {
	k := new(signKey)
	var versions []byte
	if err := scan(&k.ID, &k.Seller, &k.Name, &versions, &k.Created); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(versions, &k.Versions); err != nil || len(k.Versions) == 0 {
		return nil, fmt.Errorf("key %s has %d versions: %w", k.ID, len(k.Versions), err)
	}
	return k, nil
}

func findKey(ctx context.Context, q storage.Queryer, seller market.AccountID, id string) (*signKey, error) {
	k, err := scanKey(q.QueryRow(ctx, `SELECT `+keyColumns+` FROM apis_key WHERE id = ? AND seller = ?`, id, seller).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = market.NotFound("apis.no_key")
	}
	return k, err
}

func listKeys(ctx context.Context, q storage.Queryer, seller market.AccountID) ([]*signKey, error) {
	rows, err := q.Query(ctx, `SELECT `+keyColumns+` FROM apis_key WHERE seller = ? ORDER BY id DESC`, seller)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []*signKey
	for rows.Next() {
		k, err := scanKey(rows.Scan)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

func saveKey(ctx context.Context, tx *storage.Tx, k *signKey) error {
	versions, err := json.Marshal(k.Versions)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO apis_key (`+keyColumns+`) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET versions = excluded.versions`,
		k.ID, k.Seller, k.Name, string(versions), k.Created)
	return err
}
