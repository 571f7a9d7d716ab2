package sdkgen

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// ReadmeText is what a language adds to the page that every SDK has.
type ReadmeText struct {
	Fence   Raw    // the word behind ``` of its code
	Program string // a whole program: the first call
	Install Code   // a command
	Run     Code   // a command
	Methods []Code // what each operation is called, in the order of the services
}

// Readme writes the pages of an SDK in English and Chinese, and its manifest. Every text
// of a description in them is escaped.
func Readme(p *Package, t ReadmeText) []File {
	return []File{
		{Name: "README.md", Data: []byte(page(p, t, english))},
		{Name: "README.zh-CN.md", Data: []byte(page(p, t, chinese))},
		{Name: "sdk.manifest.json", Data: []byte(manifest(p))},
	}
}

// phrases are the sentences of a page in one language.
type phrases struct {
	what, first, install, credentials, run, operations, head, errors, errorsText, cost, costText, raw, rawText, generated Raw
}

var english = phrases{
	what:        "Client code for the API products that your app may call, version §. It needs nothing but the standard library and signs every call.",
	first:       "First call",
	install:     "Unzip, then:",
	credentials: "Set your credentials; the console shows them with your app. With AppKey and AppSecret calls are signed; an AppCode alone is sent in a header, over https only.",
	run:         "The same program is in this folder:",
	operations:  "Operations",
	head:        "| Operation | Method | Path |",
	errors:      "Errors",
	errorsText:  "A call that fails gives an error with kind, status, code, message and request ID. An error with a code comes from the marketplace; one without is the seller's own answer. Tell the request ID when you ask for help.",
	cost:        "Retries and what they cost",
	costText:    "A call is tried again, twice at most, only if it certainly did not reach the seller: no connection, too many requests, or a gateway that turned it away. Every try has a signature of its own. A call that timed out is not repeated: it may have been carried out and billed. A whole call takes 30 seconds at most.",
	raw:         "Answers",
	rawText:     "Answers are read with patience: a number that came as text is still a number. What does not fit is listed as an issue, and the answer as it came is always there. Business errors inside an answer of status 200 are the seller's: look at its code field.",
	generated:   "Generated; do not edit. Put your own code elsewhere, and unpack a newer version over this folder.",
}

var chinese = phrases{
	what:        "您的应用可调用的 API 商品的客户端代码，版本 §。只依赖标准库，每次调用都自动签名。",
	first:       "第一次调用",
	install:     "解压后执行：",
	credentials: "设置凭证（在控制台的应用页面查看）。使用 AppKey 与 AppSecret 时按签名认证调用；只有 AppCode 时放在请求头中发送，且仅限 https。",
	run:         "同样的程序在本目录中：",
	operations:  "接口列表",
	head:        "| 接口 | 方法 | 路径 |",
	errors:      "错误",
	errorsText:  "调用失败时返回的错误含类别、状态码、错误码、错误信息和请求 ID。有错误码的来自平台网关，没有错误码的是服务商自己的应答。求助时请提供请求 ID。",
	cost:        "重试与费用",
	costText:    "只有确定请求没有到达服务商时才会重试（连接失败、被限流、被网关拒绝），最多两次，每次都重新签名。超时的调用不会重试，因为它可能已经执行并计费。一次调用总时长不超过 30 秒。",
	raw:         "应答",
	rawText:     "读取应答时尽量宽容：以文本形式返回的数字仍然是数字。不符合描述的地方会列为 issue，原始应答始终保留。状态码为 200 的业务错误属于服务商，请查看其业务码字段。",
	generated:   "本目录由程序生成，请勿修改。您自己的代码请放在别处；升级时用新版本覆盖本目录。",
}

func page(p *Package, t ReadmeText, s phrases) string {
	w := NewPrinter("")
	section := func(title Raw) {
		w.L("")
		w.L("## §", Join(title))
		w.L("")
	}
	w.L("# §", Markdown(p.Title))
	w.L("")
	w.L("§", Join(s.what, Markdown(p.Version)))
	section(s.first)
	w.L("§", Join(s.install))
	w.L("")
	w.L("```sh")
	w.L("§", t.Install)
	w.L("```")
	w.L("")
	w.L("§", Join(s.credentials))
	w.L("")
	w.L("```sh")
	w.L("export SOUK_APP_KEY=…")
	w.L("export SOUK_APP_SECRET=…")
	w.L("```")
	w.L("")
	w.L("```§", Join(t.Fence))
	for line := range strings.SplitSeq(strings.TrimRight(t.Program, "\n"), "\n") {
		w.L("§", Code{line}) // of the language's own printer
	}
	w.L("```")
	w.L("")
	w.L("§", Join(s.run))
	w.L("")
	w.L("```sh")
	w.L("§", t.Run)
	w.L("```")
	section(s.operations)
	i := 0
	for _, service := range p.Services {
		w.L("### §", Markdown(service.Title))
		w.L("")
		if line := Markdown(service.Doc); line.text != "" {
			w.L("§", line)
			w.L("")
		}
		w.L("§", Join(s.head))
		w.L("| --- | --- | --- |")
		for _, o := range service.Operations {
			w.L("| § | `§` | § § |", Markdown(o.Title), t.Methods[i], Markdown(o.Method), Markdown(o.Path))
			i++
		}
		w.L("")
	}
	for _, text := range [][2]Raw{{s.errors, s.errorsText}, {s.cost, s.costText}, {s.raw, s.rawText}} {
		w.L("## §", Join(text[0]))
		w.L("")
		w.L("§", Join(text[1]))
		w.L("")
	}
	w.L("§", Join(s.generated))
	return w.String()
}

// manifest says what the SDK was made from, without a clock.
func manifest(p *Package) string {
	h := sha256.New()
	w := NewPrinter("  ")
	w.L("{")
	w.L("  \"generator\": \"§\",", Code{Version})
	w.L("  \"name\": \"§\",", Code{strings.Join(p.Name, "-")})
	w.L("  \"version\": \"§\",", Code{p.Version})
	n := 0
	for _, s := range p.Services {
		for _, o := range s.Operations {
			h.Write([]byte(o.Method + " " + s.BaseURL + o.Path + "\n"))
			n++
		}
	}
	w.L("  \"operations\": \"§\"", Code{hex.EncodeToString(h.Sum(nil))})
	w.L("}")
	return w.String()
}
