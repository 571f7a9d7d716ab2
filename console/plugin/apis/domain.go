package apis

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// certificate is what callers of a group's own domains are shown. Its key is the gateway's.
type certificate struct {
	ID      string
	Group   market.SourceID
	Domains []string
	Chain   string
	Secret  control.SecretID
	Begins  time.Time
	Ends    time.Time
	Created time.Time
}

const domainsMax = 10

// domainForm is a host name of two labels at least.
var domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// checkDomains notes which names a group cannot have.
func (p *Plugin) checkDomains(list []string, form *market.Form) {
	form.Check(len(list) <= domainsMax, "domains", "apis.too_many", "max", strconv.Itoa(domainsMax))
	for _, d := range list {
		form.Check(len(d) <= 253 && domainForm.MatchString(d), "domains", "apis.domain_form", "domain", d)
		// Names of the market's own are no seller's, taken or not.
		form.Check(d != p.suffix && !strings.HasSuffix(d, "."+p.suffix) && !slices.Contains(p.shared, d) && d != p.public,
			"domains", "apis.domain_ours", "domain", d)
	}
}

// domainLines reads names, one a line or parted by commas.
func domainLines(text string) (list []string) {
	for _, d := range strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == ',' || r == '，' }) {
		if d = strings.ToLower(strings.TrimSuffix(d, ".")); !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// AddCertificate has the gateway show a certificate to callers of the group's own domains.
// It is only for these, whatever else stands in it.
func (p *Plugin) AddCertificate(ctx context.Context, who *market.Actor, id market.SourceID, chain, key string) error {
	g, err := find(ctx, p.db.Read(), who, id)
	if err != nil {
		return err
	}
	var form market.Form
	block, _ := pem.Decode([]byte(chain))
	var leaf *x509.Certificate
	if block != nil {
		leaf, err = x509.ParseCertificate(block.Bytes)
	}
	form.Check(block != nil && err == nil, "chain", "apis.chain")
	if b, _ := pem.Decode([]byte(key)); b == nil || !strings.HasSuffix(b.Type, "PRIVATE KEY") {
		form.Fault("key", "apis.private_key")
	}
	c := certificate{Group: id, Chain: chain, Created: p.now()}
	if leaf != nil {
		for _, d := range g.Config.Domains {
			if leaf.VerifyHostname(d) == nil {
				c.Domains = append(c.Domains, d)
			}
		}
		c.Begins, c.Ends = leaf.NotBefore, leaf.NotAfter
		form.Check(len(c.Domains) > 0, "chain", "apis.chain_domains", "names", strings.Join(leaf.DNSNames, ", "))
	}
	if err := form.Err(); err != nil {
		return err
	}
	c.ID, c.Secret = market.NewID("crt", p.now()), control.SecretID(market.NewID("sec", p.now()))
	secret := &control.Secret{ID: c.Secret, Name: "key of " + c.ID, Value: []byte(key), Live: true}
	if err := p.gateway.Apply(ctx, secret, c.control(true)); err != nil {
		return refused(err, "chain")
	}
	return p.db.Tx(ctx, func(tx *storage.Tx) error { return insertCertificate(ctx, tx, c) })
}

// DropCertificate takes one away; calls over TLS to its domains have none any more.
func (p *Plugin) DropCertificate(ctx context.Context, who *market.Actor, id market.SourceID, which string) error {
	if _, err := find(ctx, p.db.Read(), who, id); err != nil {
		return err
	}
	all, err := certificates(ctx, p.db.Read(), id)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(c certificate) bool { return c.ID == which })
	if at < 0 {
		return market.NotFound("apis.no_certificate")
	}
	if err := p.gateway.Apply(ctx, all[at].control(false)); err != nil {
		return err
	}
	err = p.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM apis_certificate WHERE id = ? AND grp = ?`, which, id)
		return err
	})
	if err != nil {
		return err
	}
	return p.erase(ctx, all[at].Secret)
}

func (c certificate) control(live bool) *control.Certificate {
	return &control.Certificate{ID: control.CertificateID(c.ID), Domains: c.Domains, Chain: c.Chain, Key: c.Secret, Live: live}
}

func insertCertificate(ctx context.Context, tx *storage.Tx, c certificate) error {
	domains, err := json.Marshal(c.Domains)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO apis_certificate (id, grp, domains, chain, secret, begins, ends, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		c.ID, c.Group, string(domains), c.Chain, c.Secret, storage.Millis(c.Begins), storage.Millis(c.Ends), storage.Millis(c.Created))
	return err
}

func certificates(ctx context.Context, q storage.Queryer, group market.SourceID) ([]certificate, error) {
	rows, err := q.Query(ctx, `SELECT id, grp, domains, chain, secret, begins, ends, created FROM apis_certificate WHERE grp = ? ORDER BY id DESC`, group)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []certificate
	for rows.Next() {
		var c certificate
		var domains []byte
		var begins, ends, created int64
		if err := rows.Scan(&c.ID, &c.Group, &domains, &c.Chain, &c.Secret, &begins, &ends, &created); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(domains, &c.Domains); err != nil {
			return nil, err
		}
		c.Begins, c.Ends, c.Created = storage.Moment(begins), storage.Moment(ends), storage.Moment(created)
		list = append(list, c)
	}
	return list, rows.Err()
}
