package gate

import (
	"testing"

	"github.com/souk-market/souk/gateway/control"
)

// Programs compare these texts; protocol section 6.
func TestRefusalsSayWhatProgramsKnow(t *testing.T) {
	for _, c := range []struct {
		r      *Refusal
		status int
		text   string
	}{
		{NoCredential, 400, "A400MA Need authorization, `X-Ca-Key` or `Authorization: APPCODE ...` is required"},
		{UnknownKey, 400, "A400IK Invalid AppKey"},
		{UnknownCode, 400, "A400AC Invalid AppCode `not exists`"},
		{NonceUsed, 403, "S403NU Nonce Used"},
		{NonceNeeded, 400, "I400NC X-Ca-Nonce is required"},
		{ClockSkew, 403, "S403TE X-Ca-Timestamp is expired"},
		{Unauthorized, 403, "I403AA Unauthorized"},
		{QuotaExhausted, 403, "B403MQ Api Market Subscription quota exhausted"},
		{PackagesExpired, 403, "B403ME Api Market Subscription expired"},
		{NoPackage, 403, "B403MI Api Market Subscription invalid"},
		{ThrottledRoute, 429, "T429PA Throttled by API Flow Control"},
		{ThrottledApp, 429, "T429PR Throttled by PLUGIN Flow Control"},
		{BadStage, 400, "I400SG Invalid Stage"},
		{BodyTooLarge, 413, "I413RL Request body too Large"},
		{TargetTooLarge, 413, "I413UL Request URL too Large"},
		{UpstreamTimeout, 504, "D504TO Backend service request timeout"},
		{InternalFault, 500, "X500ER Service Internal Error"},
		{Busy, 503, "X503BZ Service Busy"},
	} {
		if c.r.Status != c.status || c.r.Error() != c.text {
			t.Errorf("%d %q, want %d %q", c.r.Status, c.r.Error(), c.status, c.text)
		}
	}
}

// A call that was used keeps nothing but memory.
func TestResetForgets(t *testing.T) {
	c := &Call{ID: control.RequestID{1}, App: "app_a", How: ByAppCode, Body: make([]byte, keptBody+1), BodyRead: true, Hold: Hold{Lease: 1}, Params: []Param{{Name: "a"}}}
	c.Reset()
	if !c.ID.IsZero() || c.App != "" || c.How != Nobody || c.BodyRead || c.Hold.Held() || len(c.Params) != 0 || cap(c.Body) != 0 {
		t.Errorf("left: %+v", c)
	}
}
