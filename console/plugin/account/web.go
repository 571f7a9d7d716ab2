package account

import (
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

type signIn struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	To       string `json:"to,omitempty" doc:"Where a browser goes afterwards: a path of this console"`
}

// signedIn is who somebody is now; for a program, with an access token.
type signedIn struct {
	Account market.AccountID `json:"account"`
	Name    string           `json:"name"`
	Email   string           `json:"email"`
	Roles   []market.Role    `json:"roles"`
	Token   string           `json:"token" doc:"An access token for this API, shown once"`
}

// formPage is the data of sign-in, sign-up and set-up: what was typed, without secrets.
type formPage struct {
	To      string
	Account string
	Name    string
	Email   string
	Token   string
}

func (p *Plugin) showSignIn(c *web.Ctx) (web.View, error) {
	to := web.Own(c.Query("to"), "")
	if a := c.Actor(); a != nil {
		if to == "" {
			to = c.FirstPage(a)
		}
		return web.View{To: to}, nil
	}
	return signInView(c, formPage{To: to}), nil
}

func signInView(c *web.Ctx, f formPage) web.View {
	return web.View{Page: "account/signin", Title: c.T("account.sign_in"), Layout: "bare", Data: f}
}

func (p *Plugin) signIn(c *web.Ctx) (web.View, error) {
	var in signIn
	if err := c.Bind(&in); err != nil {
		return signInView(c, formPage{}), err
	}
	person, err := p.checkPassword(c, in.Email, in.Password, c.Address())
	if err != nil {
		return signInView(c, formPage{To: web.Own(in.To, ""), Email: in.Email}), err
	}
	return p.begin(c, person, web.Own(in.To, ""))
}

// begin signs a person in: a browser gets a session, a program an access token.
func (p *Plugin) begin(c *web.Ctx, person market.PersonID, to string) (web.View, error) {
	token, err := p.open(c, person)
	if err != nil {
		return web.View{}, err
	}
	a, err := p.Session(c, token)
	if err != nil {
		return web.View{}, err
	}
	if to == "" {
		to = c.FirstPage(a)
	}
	if !c.API() {
		return web.View{To: to, Session: &token}, nil
	}
	_, secret, err := p.addToken(c, a, c.T("account.token_of_sign_in"))
	if err != nil {
		return web.View{}, err
	}
	return web.View{Data: signedIn{Account: a.Account, Name: a.Name, Email: a.Email, Roles: a.Roles, Token: secret}}, nil
}

type signUp struct {
	Account  string `json:"account" doc:"Name of the company or person that buys"`
	Name     string `json:"name" doc:"Name of the person that signs in"`
	Email    string `json:"email"`
	Password string `json:"password" doc:"10 to 128 characters"`
	To       string `json:"to,omitempty"`
}

func (p *Plugin) showSignUp(c *web.Ctx) (web.View, error) {
	return signUpView(c, formPage{To: web.Own(c.Query("to"), "")}), nil
}

func signUpView(c *web.Ctx, f formPage) web.View {
	return web.View{Page: "account/signup", Title: c.T("account.sign_up"), Layout: "bare", Data: f}
}

func (p *Plugin) signUp(c *web.Ctx) (web.View, error) {
	var in signUp
	if err := c.Bind(&in); err != nil {
		return signUpView(c, formPage{}), err
	}
	person, err := p.enter(c, newPerson{Account: in.Account, Name: in.Name, Email: in.Email, Password: in.Password,
		Roles: []market.Role{market.Buyer}})
	if err != nil {
		return signUpView(c, formPage{To: web.Own(in.To, ""), Account: in.Account, Name: in.Name, Email: in.Email}), err
	}
	return p.begin(c, person, web.Own(in.To, ""))
}

type setUp struct {
	Token    string `json:"token" doc:"The one-time token that the program printed at its start"`
	Account  string `json:"account"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Password string `json:"password"`
}

func (p *Plugin) showSetUp(c *web.Ctx) (web.View, error) {
	p.setup.Lock()
	open := p.mayBeFirst(c.Query("token"))
	p.setup.Unlock()
	if !open {
		return web.View{}, &market.Error{Kind: market.Denied, Code: "account.set_up_over"}
	}
	return setUpView(c, formPage{Token: c.Query("token")}), nil
}

func setUpView(c *web.Ctx, f formPage) web.View {
	return web.View{Page: "account/setup", Title: c.T("account.set_up"), Layout: "bare", Data: f}
}

func (p *Plugin) setUp(c *web.Ctx) (web.View, error) {
	var in setUp
	if err := c.Bind(&in); err != nil {
		return setUpView(c, formPage{}), err
	}
	person, err := p.firstOperator(c, in.Token, newPerson{Account: in.Account, Name: in.Name, Email: in.Email, Password: in.Password})
	if err != nil {
		return setUpView(c, formPage{Token: in.Token, Account: in.Account, Name: in.Name, Email: in.Email}), err
	}
	return p.begin(c, person, "")
}

func (p *Plugin) signOut(c *web.Ctx) (web.View, error) {
	gone := ""
	err := p.db.Tx(c, func(tx *storage.Tx) error {
		_, err := tx.Exec(c, `DELETE FROM account_session WHERE hash = ?`, tokenHash(c.SessionToken()))
		return err
	})
	return web.View{To: "/", Session: &gone, Say: "account.signed_out"}, err
}

type confirm struct {
	Password string `json:"password"`
	To       string `json:"to,omitempty"`
}

func (p *Plugin) showConfirm(c *web.Ctx) (web.View, error) {
	return confirmView(c, web.Own(c.Query("to"), "/")), nil
}

func confirmView(c *web.Ctx, to string) web.View {
	return web.View{Page: "account/confirm", Title: c.T("account.confirm"), Layout: "bare", Data: formPage{To: to, Email: c.Actor().Email}}
}

func (p *Plugin) confirm(c *web.Ctx) (web.View, error) {
	var in confirm
	if err := c.Bind(&in); err != nil {
		return confirmView(c, "/"), err
	}
	to := web.Own(in.To, "/")
	if _, err := p.checkPassword(c, c.Actor().Email, in.Password, c.Address()); err != nil {
		return confirmView(c, to), err
	}
	return web.View{To: to}, p.again(c, c.SessionToken())
}

// Settings is the page of one's own account.
type Settings struct {
	Account market.AccountID `json:"account"`
	Name    string           `json:"name"`
	Person  string           `json:"person"`
	Email   string           `json:"email"`
	Roles   []market.Role    `json:"roles"`
	Tokens  []TokenRow       `json:"tokens"`
	Made    *MadeToken       `json:"-"`
}

// TokenRow is an access token without its text.
type TokenRow struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Tail    string     `json:"tail" doc:"Its last four characters"`
	Created time.Time  `json:"created"`
	Used    *time.Time `json:"used" doc:"To the minute; null: never"`
}

// MadeToken is an access token with its text, which is shown once.
type MadeToken struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Token string `json:"token"`
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	s, err := p.settings(c)
	return settingsView(c, s), err
}

func (p *Plugin) settings(c *web.Ctx) (Settings, error) {
	a := c.Actor()
	s := Settings{Account: a.Account, Name: a.Name, Person: a.Called, Email: a.Email, Roles: a.Roles}
	var err error
	s.Tokens, err = listTokens(c, p.db.Read(), a.Person)
	return s, err
}

func settingsView(c *web.Ctx, s Settings) web.View {
	return web.View{Page: "account/show", Title: c.T("account.title"), Data: s}
}

type newToken struct {
	Name string `json:"name" doc:"What it is for; up to 60 characters"`
}

// makeToken shows the token on the very answer, since it is shown once: the only post
// that answers with a page.
func (p *Plugin) makeToken(c *web.Ctx) (web.View, error) {
	s, err := p.settings(c)
	if err != nil {
		return web.View{}, err
	}
	var in newToken
	if err := c.Bind(&in); err != nil {
		return settingsView(c, s), err
	}
	row, secret, err := p.addToken(c, c.Actor(), in.Name)
	if err != nil {
		return settingsView(c, s), err
	}
	made := MadeToken{ID: row.ID, Name: row.Name, Token: secret}
	if c.API() {
		return web.View{Data: made}, nil
	}
	s.Tokens = append([]TokenRow{row}, s.Tokens...)
	s.Made = &made
	return settingsView(c, s), nil
}

func (p *Plugin) dropToken(c *web.Ctx) (web.View, error) {
	return web.View{To: "/account", Say: "account.token_dropped"}, p.removeToken(c, c.Actor(), c.Param("token"))
}

type listAccounts struct {
	Q      string `json:"q,omitempty" doc:"Part of a name or an e-mail address"`
	Before string `json:"before,omitempty" doc:"The next of the page before"`
}

// AccountList is a page of accounts.
type AccountList struct {
	Q        string       `json:"q"`
	Accounts []AccountRow `json:"accounts"`
	Total    int          `json:"total"`
	Next     string       `json:"next" doc:"Give it as before for the next page; empty on the last"`
}

// AccountRow is one account as the operator sees it.
type AccountRow struct {
	ID      market.AccountID `json:"id"`
	Name    string           `json:"name"`
	Email   string           `json:"email"`
	Roles   []market.Role    `json:"roles"`
	Created time.Time        `json:"created"`
}

// Has reports whether the account stands on a side; for templates.
func (r AccountRow) Has(role string) bool {
	a := market.Actor{Roles: r.Roles}
	return a.Is(market.Role(role))
}

const perPage = 20

func (p *Plugin) list(c *web.Ctx) (web.View, error) {
	var in listAccounts
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	rows, total, err := findAccounts(c, p.db.Read(), in.Q, in.Before, perPage+1)
	if err != nil {
		return web.View{}, err
	}
	l := AccountList{Q: in.Q, Accounts: rows, Total: total}
	if len(rows) > perPage {
		l.Accounts = rows[:perPage]
		l.Next = string(rows[perPage-1].ID)
	}
	return web.View{Page: "account/list", Title: c.T("account.menu"), Data: l}, nil
}

type setRoles struct {
	Roles []market.Role `json:"roles" doc:"buyer, seller, operator"`
}

func (p *Plugin) setRoles(c *web.Ctx) (web.View, error) {
	var in setRoles
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	row, err := p.grant(c, market.AccountID(c.Param("account")), in.Roles)
	return web.View{To: "/operator/accounts", Say: "account.roles_set", Data: row}, err
}
