package certificate

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// minRSA is the shortest RSA key that is taken.
const minRSA = 2048

// TimeError says that a certificate is sound, but not today.
type TimeError struct{ From, Until time.Time }

// Error says when it would be.
func (e *TimeError) Error() string {
	return fmt.Sprintf("the certificate is valid from %s until %s only; upload one that is valid today",
		e.From.UTC().Format(time.DateOnly), e.Until.UTC().Format(time.DateOnly))
}

// Check reads an upload, and says in words for who made it what is wrong: chain and key
// must belong together, each certificate must be signed by the next, the first must be for
// all the domains, and today must be within its dates. With a *TimeError alone the
// certificate is there as well.
func Check(u Upload, now time.Time) (*tls.Certificate, error) {
	chain, err := parseChain(u.Chain)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(u.Key); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("the key is no private key in PEM form, which begins with -----BEGIN PRIVATE KEY-----")
	}
	cert, err := tls.X509KeyPair(u.Chain, u.Key)
	if err != nil {
		if strings.Contains(err.Error(), "does not match") {
			return nil, errors.New("the key is not that of the first certificate; the server's own certificate comes first, then those that signed it")
		}
		return nil, fmt.Errorf("the key cannot be read; if it has a passphrase, take it off: %w", err)
	}
	leaf := chain[0]
	cert.Leaf = leaf
	if err := checkLeaf(leaf); err != nil {
		return nil, err
	}
	for i := 1; i < len(chain); i++ {
		if err := chain[i-1].CheckSignatureFrom(chain[i]); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain is not signed by certificate %d; put them in order, the server's own first: %w", i, i+1, err)
		}
	}
	if len(u.Domains) == 0 {
		return nil, errors.New("no domain is named that the certificate is for")
	}
	for _, d := range u.Domains {
		if !covers(leaf, d) {
			return nil, fmt.Errorf("the certificate is not for %s; it is for %s", d, strings.Join(leaf.DNSNames, ", "))
		}
	}
	for _, c := range chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return &cert, &TimeError{c.NotBefore, c.NotAfter}
		}
	}
	return &cert, nil
}

func parseChain(text []byte) (chain []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a %s in the chain; only certificates belong there", strings.ToLower(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain cannot be read: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("the chain is no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----")
	}
	return chain, nil
}

func checkLeaf(leaf *x509.Certificate) error {
	// One that signed itself for its own names is what people make for their own machines, and
	// the usual tools call it an authority's.
	if leaf.IsCA && (leaf.CheckSignatureFrom(leaf) != nil || len(leaf.DNSNames)+len(leaf.IPAddresses) == 0) {
		return errors.New("the first certificate is an authority's; the server's own comes first")
	}
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSA {
			return fmt.Errorf("the RSA key has %d bits; callers refuse less than %d", n, minRSA)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return fmt.Errorf("keys of the kind %s are not taken; make one of RSA or ECDSA", leaf.PublicKeyAlgorithm)
	}
	switch leaf.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Errorf("the certificate is signed with %s, which callers refuse", leaf.SignatureAlgorithm)
	}
	if len(leaf.DNSNames) == 0 {
		return errors.New("the certificate names no domain as an alternative name (SAN), which callers demand")
	}
	for _, use := range leaf.ExtKeyUsage {
		if use == x509.ExtKeyUsageServerAuth || use == x509.ExtKeyUsageAny {
			return nil
		}
	}
	if len(leaf.ExtKeyUsage) > 0 {
		return errors.New("the certificate is not for servers (extended key usage)")
	}
	return nil
}

// covers reports whether a certificate is for a domain. One with a star has to stand in it
// as it is.
func covers(leaf *x509.Certificate, domain string) bool {
	domain = strings.ToLower(domain)
	if strings.HasPrefix(domain, "*.") {
		for _, name := range leaf.DNSNames {
			if strings.ToLower(name) == domain {
				return true
			}
		}
		return false
	}
	return leaf.VerifyHostname(domain) == nil
}
