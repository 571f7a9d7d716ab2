package apis

import (
	"slices"
	"strconv"
	"strings"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
)

// routeConfig is what a seller sets for one interface. Empty is the group's, or the
// gateway's default.
type routeConfig struct {
	AppCode      string              `json:"app_code,omitempty" doc:"DEFAULT, DISABLE, HEADER or HEADER_QUERY; empty: the group's"`
	Secure       bool                `json:"secure,omitempty" doc:"Only over HTTPS"`
	ForceNonce   bool                `json:"force_nonce,omitempty" doc:"Signed calls must have X-Ca-Nonce"`
	Canonical    bool                `json:"canonical,omitempty" doc:"Only the canonical string to sign is accepted"`
	SHA1         string              `json:"sha1,omitempty" doc:"HmacSHA1 signatures: yes, no; empty: the group's"`
	Timeout      int64               `json:"timeout_millis,omitempty" doc:"Until the answer's head; 0: the group's"`
	MaxBody      int64               `json:"max_body,omitempty" doc:"Bytes of a request body; 0: 10 MiB"`
	Charge       string              `json:"charge,omitempty" doc:"succeeded: calls cost only if they succeed; empty: as the product says"`
	Mode         string              `json:"mode,omitempty" doc:"mapped: only the parameters below go to the backend; empty: all do"`
	UpstreamPath string              `json:"upstream_path,omitempty" doc:"Path at the backend; empty: the same"`
	Parameters   []control.Parameter `json:"parameters,omitempty"`
	Constants    []control.Constant  `json:"constants,omitempty"`
	Mock         *control.Mock       `json:"mock,omitempty" doc:"Answers without a backend"`
}

var codeForms = []control.AppCodeSetting{control.AppCodeDefault, control.AppCodeHeader, control.AppCodeHeaderQuery, control.AppCodeDisable}

// systems are the system parameters that a constant may have.
var systems = []string{"CaClientIp", "CaDomain", "CaRequestHandleTime", "CaAppId", "CaAppKey", "CaRequestId", "CaApiName", "CaHttpSchema",
	"CaProxy", "CaStage", "CaMarketplaceProduct"}

const (
	bodyMax       = 1 << 30
	parametersMax = 200
	mockBodyMax   = 256 << 10
)

func (c *routeConfig) check(form *market.Form) {
	form.Check(c.AppCode == "" || slices.Contains(codeForms, control.AppCodeSetting(c.AppCode)), "app_code", "apis.app_code")
	form.Check(c.SHA1 == "" || c.SHA1 == "yes" || c.SHA1 == "no", "sha1", "apis.sha1_choice")
	form.Check(c.Timeout == 0 || c.Timeout >= timeoutMin.Milliseconds() && c.Timeout <= timeoutMax.Milliseconds(), "timeout_millis", "apis.timeout", "min", "100", "max", "120000")
	form.Check(c.MaxBody >= 0 && c.MaxBody <= bodyMax, "max_body", "apis.between", "max", strconv.Itoa(bodyMax))
	// What buyers were told when they bought binds the seller; he may only be kinder.
	form.Check(c.Charge == "" || c.Charge == string(control.ChargeSucceeded), "charge", "apis.charge")
	form.Check(c.Mode == string(control.PassThrough) || c.Mode == string(control.Mapped), "mode", "apis.mode")
	form.Check(c.UpstreamPath == "" || pathForm.MatchString(c.UpstreamPath) && strings.HasPrefix(c.UpstreamPath, "/"), "upstream_path", "apis.path", "path", c.UpstreamPath)
	form.Check(len(c.Parameters) <= parametersMax, "parameters", "apis.too_many", "max", strconv.Itoa(parametersMax))
	form.Check(len(c.Constants) <= parametersMax, "constants", "apis.too_many", "max", strconv.Itoa(parametersMax))
	if m := c.Mock; m != nil {
		form.Check(m.Status >= 200 && m.Status <= 599, "mock_status", "apis.mock_status")
		form.Check(len(m.Body) <= mockBodyMax, "mock_body", "apis.filter_long", "max", strconv.Itoa(mockBodyMax))
	}
}

// headerLines reads "Name: value" lines.
func headerLines(text, field string, form *market.Form) (list [][]string) {
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			form.Fault(field, "apis.header_line", "line", line)
			continue
		}
		list = append(list, []string{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return list
}
