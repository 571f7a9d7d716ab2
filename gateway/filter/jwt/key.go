package jwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/souk-market/souk/gateway/control"
)

// key verifies tokens of one algorithm.
type key struct {
	id  string
	alg string
	key any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// Bounds of keys.
const (
	minSecret = 32 // bytes, as long as the shortest sum
	minRSA    = 2048
	maxRSA    = 8192
)

// newKey makes a key of a setting.
func newKey(id, alg string, secret control.SecretID, text string, secrets func(control.SecretID) ([]byte, error)) (key, error) {
	if !slices.Contains(algorithms, alg) {
		return key{}, fmt.Errorf("%q is no algorithm; there are %s", alg, strings.Join(algorithms, ", "))
	}
	if strings.HasPrefix(alg, "HS") {
		if text != "" || secret == "" {
			return key{}, fmt.Errorf(`%s has a "secret", and no "pem"`, alg)
		}
		value, err := secrets(secret)
		if err != nil {
			return key{}, err
		}
		if len(value) < minSecret {
			return key{}, fmt.Errorf("a secret has at least %d bytes", minSecret)
		}
		return key{id, alg, bytes.Clone(value)}, fits(alg, value)
	}
	if secret != "" || text == "" {
		return key{}, fmt.Errorf(`%s has a "pem", and no "secret"`, alg)
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return key{}, errors.New(`"pem" is one public key, with its BEGIN and END lines`)
	}
	public, err := readPublic(block)
	if err != nil {
		return key{}, err
	}
	return key{id, alg, public}, fits(alg, public)
}

func readPublic(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	}
	return nil, fmt.Errorf(`"pem" is a %s; it should be a PUBLIC KEY or a CERTIFICATE`, strings.ToLower(block.Type))
}

var algorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// fits reports why a key cannot serve an algorithm.
func fits(alg string, public any) error {
	switch k := public.(type) {
	case []byte:
		if alg == "HS256" || alg == "HS384" || alg == "HS512" {
			return nil
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA || k.E < 3 {
			return fmt.Errorf("an RSA key has from %d to %d bits, not %d", minRSA, maxRSA, n)
		}
		switch alg {
		case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
			return nil
		}
	case *ecdsa.PublicKey:
		if curve, ok := curves[k.Curve.Params().Name]; ok && curve.alg == alg {
			return nil
		}
	case ed25519.PublicKey:
		if alg == "EdDSA" {
			return nil
		}
	}
	return fmt.Errorf("the key is not one for %q", alg)
}

var curves = map[string]struct {
	alg   string
	curve elliptic.Curve
}{
	"P-256": {"ES256", elliptic.P256()}, "P-384": {"ES384", elliptic.P384()}, "P-521": {"ES512", elliptic.P521()},
}

// readSet reads a JSON Web Key Set. Keys for encryption are passed over.
func readSet(text json.RawMessage) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New(`it is an object with "keys", a list`)
	}
	var list []key
	for i, raw := range set.Keys {
		k, use, err := readOne(raw)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if use {
			list = append(list, k)
		}
	}
	return list, nil
}

// readOne reads a JSON Web Key, and whether it is for signatures.
func readOne(raw json.RawMessage) (k key, use bool, err error) {
	var w struct {
		Kty, Kid, Use, Alg, Crv string
		N, E, X, Y              string
		D, K                    json.RawMessage
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return k, false, errors.New("it is no JSON Web Key")
	}
	if w.D != nil || w.K != nil {
		return k, false, errors.New("it is private; a setting has public keys only, and secrets by their name")
	}
	if w.Use != "" && w.Use != "sig" {
		return k, false, nil
	}
	k.id, k.alg = w.Kid, w.Alg
	number := func(text string) []byte {
		b, e := base64.RawURLEncoding.DecodeString(text)
		if e != nil || len(b) == 0 {
			err = errors.New("one of its numbers is not Base64URL")
		}
		return b
	}
	switch w.Kty {
	case "RSA":
		n, e := new(big.Int).SetBytes(number(w.N)), new(big.Int).SetBytes(number(w.E))
		if err == nil && e.BitLen() > 31 {
			err = errors.New("its exponent is too large")
		}
		k.key = &rsa.PublicKey{N: n, E: int(e.Int64())}
		k.alg = or(w.Alg, "RS256")
	case "EC":
		curve, ok := curves[w.Crv]
		if !ok {
			return k, false, fmt.Errorf("its curve %q is not known", w.Crv)
		}
		size := (curve.curve.Params().BitSize + 7) / 8
		x, y := number(w.X), number(w.Y)
		if err != nil || len(x) != size || len(y) != size {
			return k, false, errors.New("its point is not one of its curve")
		}
		if k.key, err = ecdsa.ParseUncompressedPublicKey(curve.curve, append(append([]byte{4}, x...), y...)); err != nil {
			return k, false, errors.New("its point is not one of its curve")
		}
		k.alg = or(w.Alg, curve.alg)
	case "OKP":
		x := number(w.X)
		if w.Crv != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return k, false, errors.New("it is no Ed25519 key")
		}
		k.key, k.alg = ed25519.PublicKey(x), or(w.Alg, "EdDSA")
	default:
		return k, false, fmt.Errorf("its type %q is not known; there are RSA, EC and OKP", w.Kty)
	}
	if err != nil {
		return k, false, err
	}
	return k, true, fits(k.alg, k.key)
}

func or(text, usual string) string {
	if text == "" {
		return usual
	}
	return text
}
