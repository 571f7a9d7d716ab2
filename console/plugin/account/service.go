package account

import (
	"context"
	"crypto/subtle"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

const (
	idle     = 30 * time.Minute // a session that nobody uses is over
	absolute = 12 * time.Hour   // and so is one that is this old
	setUpFor = time.Hour        // the first operator's token lives so long
	passMin  = 10               // characters of a password
	passMax  = 128
	tokenMax = 20 // access tokens of one person
)

// newPerson is what it takes to make an account with its first person.
type newPerson struct {
	Account, Name, Email, Password string
	Roles                          []market.Role
}

func (n *newPerson) check() error {
	n.Account, n.Name = strings.TrimSpace(n.Account), strings.TrimSpace(n.Name)
	n.Email = strings.ToLower(strings.TrimSpace(n.Email))
	var f market.Form
	f.Check(n.Account != "" && utf8.RuneCountInString(n.Account) <= 60, "account", "account.name_length", "max", "60")
	f.Check(n.Name != "" && utf8.RuneCountInString(n.Name) <= 60, "name", "account.name_length", "max", "60")
	addr, err := mail.ParseAddress(n.Email)
	f.Check(err == nil && addr.Address == n.Email && len(n.Email) <= 120, "email", "account.email")
	length := utf8.RuneCountInString(n.Password)
	f.Check(length >= passMin && length <= passMax, "password", "account.password_length", "min", "10", "max", "128")
	return f.Err()
}

// enter makes an account with its first person. An address that is taken is a Conflict.
func (p *Plugin) enter(ctx context.Context, n newPerson) (market.PersonID, error) {
	if err := n.check(); err != nil {
		return "", err
	}
	hash, err := p.hashPassword(ctx, n.Password)
	if err != nil {
		return "", err
	}
	now := p.now()
	account := market.AccountID(market.NewID("acc", now))
	person := market.PersonID(market.NewID("per", now))
	err = p.db.Tx(ctx, func(tx *storage.Tx) error {
		if err := insertAccount(ctx, tx, account, n.Account, n.Roles, now); err != nil {
			return err
		}
		return insertPerson(ctx, tx, person, account, n.Email, n.Name, hash, now)
	})
	if p.db.Unique(err) {
		return "", &market.Error{Kind: market.Conflict, Code: "account.email_taken",
			Fields: []market.Field{{Name: "email", Code: "account.email_taken"}}}
	}
	return person, err
}

// open signs a person in and gives the session's token.
func (p *Plugin) open(ctx context.Context, person market.PersonID) (token string, err error) {
	token = newSecret("")
	now := p.now()
	err = p.db.Tx(ctx, func(tx *storage.Tx) error { return insertSession(ctx, tx, tokenHash(token), person, now) })
	return token, err
}

// check finds the person whose address and password these are. The answer and its time
// do not tell whether the account exists.
func (p *Plugin) checkPassword(ctx context.Context, email, password, address string) (market.PersonID, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	now := p.now()
	if err := p.tries.allow(now, "e:"+email, triesPerEmail); err != nil {
		return "", err
	}
	if err := p.tries.allow(now, "a:"+address, triesPerAddress); err != nil {
		return "", err
	}
	person, hash, err := findPassword(ctx, p.db.Read(), email)
	if err != nil {
		return "", err
	}
	if person == "" {
		hash = nobody
	}
	right, err := p.rightPassword(ctx, hash, password)
	if err != nil {
		return "", err
	}
	if person == "" || !right {
		p.tries.fail(now, "e:"+email)
		p.tries.fail(now, "a:"+address)
		return "", &market.Error{Kind: market.Invalid, Code: "account.wrong_password"}
	}
	p.tries.forget("e:" + email)
	return person, nil
}

// Session is the actor of a session; it is over after half an hour of rest and after
// twelve hours in any case (security.md B4).
func (p *Plugin) Session(ctx context.Context, token string) (*market.Actor, error) {
	now := p.now()
	s, err := findSession(ctx, p.db.Read(), tokenHash(token))
	if err != nil {
		return nil, err
	}
	if s == nil || now.Sub(s.seen) >= idle || now.Sub(s.created) >= absolute {
		return nil, &market.Error{Kind: market.SignedOut, Code: "session.over"}
	}
	if now.Sub(s.seen) >= time.Minute { // written down once a minute, not with each page
		err = p.db.Tx(ctx, func(tx *storage.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE account_session SET seen = ? WHERE hash = ?`, storage.Millis(now), tokenHash(token))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return &s.actor, nil
}

// Bearer is the actor of an access token.
func (p *Plugin) Bearer(ctx context.Context, token string) (*market.Actor, error) {
	a, used, err := findBearer(ctx, p.db.Read(), tokenHash(token))
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, &market.Error{Kind: market.SignedOut, Code: "web.bearer_unknown"}
	}
	a.Token = true
	if now := p.now(); now.Sub(used) >= time.Minute {
		err = p.db.Tx(ctx, func(tx *storage.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE account_token SET used = ? WHERE hash = ?`, storage.Millis(now), tokenHash(token))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Names gives the names of accounts.
func (p *Plugin) Names(ctx context.Context, ids ...market.AccountID) (map[market.AccountID]string, error) {
	return accountNames(ctx, p.db.Read(), ids)
}

// again notes that a person gave the password just now.
func (p *Plugin) again(ctx context.Context, token string) error {
	now := storage.Millis(p.now())
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE account_session SET signed_in = ?, seen = ? WHERE hash = ?`, now, now, tokenHash(token))
		return err
	})
}

// FirstOperator is the one-time token with which the first operator is made, valid for an
// hour; empty once there is an operator (security.md B6).
func (p *Plugin) FirstOperator(ctx context.Context) (string, error) {
	n, err := countOperators(ctx, p.db.Read())
	if err != nil || n > 0 {
		return "", err
	}
	token := newSecret("")
	p.setup.Lock()
	defer p.setup.Unlock()
	p.setup.hash, p.setup.until = tokenHash(token), p.now().Add(setUpFor)
	return token, nil
}

// settle makes the first operator. Of many that try at once, one succeeds.
func (p *Plugin) firstOperator(ctx context.Context, token string, n newPerson) (market.PersonID, error) {
	p.setup.Lock()
	defer p.setup.Unlock()
	if !p.mayBeFirst(token) {
		return "", &market.Error{Kind: market.Denied, Code: "account.set_up_over"}
	}
	operators, err := countOperators(ctx, p.db.Read())
	if err != nil {
		return "", err
	}
	if operators > 0 {
		return "", &market.Error{Kind: market.Denied, Code: "account.set_up_over"}
	}
	n.Roles = []market.Role{market.Operator}
	person, err := p.enter(ctx, n)
	if err == nil {
		p.setup.hash = ""
	}
	return person, err
}

// mayBeFirst is asked with the lock held.
func (p *Plugin) mayBeFirst(token string) bool {
	return p.setup.hash != "" && p.now().Before(p.setup.until) &&
		subtle.ConstantTimeCompare([]byte(tokenHash(token)), []byte(p.setup.hash)) == 1
}

// addToken makes an access token for a person; its text is given once.
func (p *Plugin) addToken(ctx context.Context, who *market.Actor, name string) (TokenRow, string, error) {
	name = strings.TrimSpace(name)
	var f market.Form
	f.Check(name != "" && utf8.RuneCountInString(name) <= 60, "name", "account.name_length", "max", "60")
	if err := f.Err(); err != nil {
		return TokenRow{}, "", err
	}
	secret := newSecret("souk_")
	now := p.now()
	row := TokenRow{ID: market.NewID("tok", now), Name: name, Tail: secret[len(secret)-4:], Created: now}
	err := p.db.Tx(ctx, func(tx *storage.Tx) error {
		var n int
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM account_token WHERE person = ?`, who.Person).Scan(&n); err != nil {
			return err
		}
		if n >= tokenMax {
			return &market.Error{Kind: market.Conflict, Code: "account.too_many_tokens", Args: map[string]string{"max": "20"}}
		}
		return insertToken(ctx, tx, row, tokenHash(secret), who.Person)
	})
	return row, secret, err
}

// removeToken ends an access token at once.
func (p *Plugin) removeToken(ctx context.Context, who *market.Actor, id string) error {
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM account_token WHERE id = ? AND person = ?`, id, who.Person)
		if err == nil && n == 0 {
			err = market.NotFound("account.no_token")
		}
		return err
	})
}

// grant sets which sides an account may stand on. An operator cannot take the last
// operator's role away.
func (p *Plugin) grant(ctx context.Context, id market.AccountID, roles []market.Role) (AccountRow, error) {
	for _, r := range roles {
		if r != market.Buyer && r != market.Seller && r != market.Operator {
			return AccountRow{}, &market.Error{Kind: market.Invalid, Code: "form.invalid",
				Fields: []market.Field{{Name: "roles", Code: "account.unknown_role"}}}
		}
	}
	err := p.db.Tx(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE account_account SET roles = ? WHERE id = ?`, joinRoles(roles), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return market.NotFound("account.no_account")
		}
		operators, err := countOperators(ctx, tx)
		if err == nil && operators == 0 {
			err = &market.Error{Kind: market.Conflict, Code: "account.last_operator"}
		}
		return err
	})
	if err != nil {
		return AccountRow{}, err
	}
	return findAccount(ctx, p.db.Read(), id)
}

func (p *Plugin) dropOld(ctx context.Context) error {
	now := p.now()
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM account_session WHERE seen < ? OR created < ?`,
			storage.Millis(now.Add(-idle)), storage.Millis(now.Add(-absolute)))
		return err
	})
}
