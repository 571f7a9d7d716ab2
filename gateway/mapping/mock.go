package mapping

import (
	"fmt"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
)

// mock is an answer that is ready.
type mock struct {
	status int
	fields gate.Fields
	body   []byte
}

func newMock(m *control.Mock) (*mock, error) {
	if m == nil {
		return nil, nil
	}
	made := &mock{status: m.Status, body: []byte(m.Body)}
	if made.status == 0 {
		made.status = 200
	}
	if made.status < 200 || made.status > 599 {
		return nil, fmt.Errorf("mock: status %d is not from 200 to 599", m.Status)
	}
	if (made.status == 204 || made.status == 304) && m.Body != "" {
		return nil, fmt.Errorf("mock: an answer with status %d has no body", m.Status)
	}
	for _, h := range m.Headers {
		if len(h) != 2 {
			return nil, fmt.Errorf("mock: a header is a name and a value, not %q", h)
		}
		if gate.ReservedAnswer([]byte(h[0])) {
			return nil, fmt.Errorf("mock: the header %q is not for a route to write", h[0])
		}
		if !param.FitsHeader([]byte(h[1])) {
			return nil, fmt.Errorf("mock: the value of header %q has a line break or another control character", h[0])
		}
		made.fields = append(made.fields, gate.Field{Name: []byte(h[0]), Value: []byte(h[1])})
	}
	return made, nil
}
