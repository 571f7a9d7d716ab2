package apps

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

const (
	nameMax  = 40
	aboutMax = 200
	appsMax  = 50 // of one account
	// freshFor is how long after giving the password secrets are shown without giving it
	// again.
	freshFor = 15 * time.Minute
)

// For is the buyer's own app. The row comes first and the gateway's side may be repeated,
// so that a crash between the two is healed by the next call.
func (p *Plugin) For(ctx context.Context, buyer market.AccountID) (market.App, error) {
	a, err := findFirst(ctx, p.db.Read(), buyer)
	if err != nil {
		return market.App{}, err
	}
	if a.ID == "" {
		now := p.now()
		a = app{ID: market.AppID(market.NewID("app", now)), Owner: buyer, First: true, Created: now}
		a.Name = "app-" + string(a.ID[len(a.ID)-6:])
		err = p.db.Tx(ctx, func(tx *storage.Tx) error { return insert(ctx, tx, a) })
		if p.db.Unique(err) { // another delivery was faster
			a, err = findFirst(ctx, p.db.Read(), buyer)
		}
		if err != nil {
			return market.App{}, err
		}
	}
	_, err = p.gateway.CreateApp(ctx, control.App{ID: control.AppID(a.ID), Owner: string(buyer), Name: a.Name, Live: true})
	return a.market(), err
}

// App is one of the actor's own.
func (p *Plugin) App(ctx context.Context, who *market.Actor, id market.AppID) (market.App, error) {
	a, err := find(ctx, p.db.Read(), who, id)
	return a.market(), err
}

// OfBuyer lists a buyer's apps, oldest first.
func (p *Plugin) OfBuyer(ctx context.Context, buyer market.AccountID) ([]market.App, error) {
	list, err := listOf(ctx, p.db.Read(), buyer)
	var apps []market.App
	for _, a := range list {
		apps = append(apps, a.market())
	}
	return apps, err
}

// Secrets are an app's credentials, masked.
func (p *Plugin) Secrets(ctx context.Context, id market.AppID) ([]market.Secret, error) {
	k, err := p.gateway.Credentials(ctx, control.AppID(id))
	if err != nil {
		return nil, err
	}
	at := "/apps/" + string(id)
	return []market.Secret{
		{Name: "AppKey", Value: k.AppKey, Note: "apps.note_key", At: k.SecretAt},
		{Name: "AppSecret", Tail: tail(k.AppSecret), Note: "apps.note_secret", At: k.SecretAt, Reveal: at + "/secret/reveal", Reset: at + "/secret/reset"},
		{Name: "AppCode", Tail: tail(k.AppCode), Note: "apps.note_code", At: k.CodeAt, Reveal: at + "/code/reveal", Reset: at + "/code/reset"},
	}, nil
}

func tail(s string) string { return s[max(0, len(s)-4):] }

func check(name, about string) error {
	var f market.Form
	f.Check(name != "" && utf8.RuneCountInString(name) <= nameMax, "name", "apps.name", "max", fmt.Sprint(nameMax))
	f.Check(utf8.RuneCountInString(about) <= aboutMax, "about", "apps.about", "max", fmt.Sprint(aboutMax))
	return f.Err()
}

// Add makes an app with fresh credentials.
func (p *Plugin) Add(ctx context.Context, who *market.Actor, name, about string) (market.AppID, error) {
	name, about = strings.TrimSpace(name), strings.TrimSpace(about)
	if err := check(name, about); err != nil {
		return "", err
	}
	now := p.now()
	a := app{ID: market.AppID(market.NewID("app", now)), Owner: who.Account, Name: name, About: about, Created: now}
	err := p.db.Tx(ctx, func(tx *storage.Tx) error {
		n, err := count(ctx, tx, who.Account)
		if err == nil && n >= appsMax {
			err = &market.Error{Kind: market.Conflict, Code: "apps.too_many", Args: map[string]string{"max": fmt.Sprint(appsMax)}}
		}
		if err != nil {
			return err
		}
		return insert(ctx, tx, a)
	})
	if err != nil {
		return "", err
	}
	_, err = p.gateway.CreateApp(ctx, control.App{ID: control.AppID(a.ID), Owner: string(a.Owner), Name: a.Name, Live: true})
	return a.ID, err
}

// Edit renames an app.
func (p *Plugin) Edit(ctx context.Context, who *market.Actor, id market.AppID, name, about string) error {
	name, about = strings.TrimSpace(name), strings.TrimSpace(about)
	if err := check(name, about); err != nil {
		return err
	}
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE apps_app SET name = ?, about = ? WHERE id = ? AND owner = ?`, name, about, id, who.Account)
		if err == nil && n == 0 {
			err = market.NotFound("apps.missing")
		}
		return err
	})
}

// credentials are shown to the owner, if the password was given a short while ago; an
// access token is enough by itself. The deed is written down before anything is shown.
func (p *Plugin) credentials(ctx context.Context, who *market.Actor, id market.AppID, deed string) (control.Credentials, error) {
	if _, err := find(ctx, p.db.Read(), who, id); err != nil {
		return control.Credentials{}, err
	}
	if err := p.fresh(who); err != nil {
		return control.Credentials{}, err
	}
	if err := p.note(ctx, who, id, deed); err != nil {
		return control.Credentials{}, err
	}
	return p.gateway.Credentials(ctx, control.AppID(id))
}

func (p *Plugin) fresh(who *market.Actor) error {
	if who.Token || p.now().Sub(who.SignedIn) < freshFor {
		return nil
	}
	return &market.Error{Kind: market.Denied, Code: "apps.password_again"}
}

func (p *Plugin) note(ctx context.Context, who *market.Actor, id market.AppID, deed string) error {
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO apps_deed (app, person, deed, at) VALUES (?, ?, ?, ?)`, id, who.Called, deed, storage.Millis(p.now()))
		return err
	})
}

// Reset replaces the AppSecret or the AppCode at once, after the app's name was typed.
func (p *Plugin) Reset(ctx context.Context, who *market.Actor, id market.AppID, what, typed string) error {
	a, err := find(ctx, p.db.Read(), who, id)
	if err != nil {
		return err
	}
	if err := p.fresh(who); err != nil {
		return err
	}
	var f market.Form
	f.Check(strings.TrimSpace(typed) == a.Name, "name", "apps.name_typed", "name", a.Name)
	if err := f.Err(); err != nil {
		return err
	}
	if err := p.note(ctx, who, id, "reset_"+what); err != nil {
		return err
	}
	if what == "secret" {
		_, err = p.gateway.ResetSecret(ctx, control.AppID(id))
	} else {
		_, err = p.gateway.ResetCode(ctx, control.AppID(id))
	}
	return err
}
