package page

import (
	"time"

	"github.com/souk-market/souk/console/market"
)

// Sample is what the page "page/parts" shows if it is given nothing else: every part in
// every state. The page is for developers: a part is drawn there before a page uses it.
func Sample(now time.Time) any {
	text := func(zh, en string) market.Text { return market.Text{ZH: zh, EN: en} }
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	type m = map[string]any
	points := make([]Bar, 30)
	days := make([]int64, 30)
	for i := range points {
		n := int64(31 + (i*i*7+i*13)%29)
		points[i] = Bar{At: day(i - 29), Charged: n, Free: int64(i % 5 / 4 * 3), Refused: int64(i % 7 / 6 * 9)}
		days[i] = n
	}
	return m{
		"Points": points, "Days": days, "Then": now.Add(-2 * time.Minute), "Now": now,
		"Icons": []string{"search", "menu", "cart", "bell", "lang", "sun", "moon", "user", "home", "shop", "cube", "plug", "app", "key",
			"shield", "id", "pin", "cloud", "doc", "truck", "phone", "chart", "list", "clock", "okc", "check", "tri", "dia", "oct", "info",
			"ban", "pause", "run", "rot", "copy", "eye", "dl", "up", "ext", "pen", "plus", "minus", "x", "dots", "filter", "coin", "tkt",
			"chat", "term", "gear", "down", "left", "right", "out", "keys"},
		"Colours": []string{"paper", "surface", "raised", "sunken", "code", "line", "line-strong", "ink", "ink-2", "ink-3", "accent",
			"accent-hover", "accent-soft", "accent-line", "saffron", "good", "good-soft", "caution", "caution-soft", "warn", "warn-soft",
			"bad", "bad-soft", "c1", "c2", "c3", "c4"},
		"Product": m{"ID": "prd_6X1T", "Icon": "sun", "Free": true, "Name": text("日照时数查询", "Sunlight Hours"), "Seller": "白露观测",
			"Summary": text("逐日日照时数与云量，覆盖 2 860 个区县，每小时更新一次。", "Daily hours of sunlight and cloud cover for 2 860 counties, renewed every hour."),
			"Calls":   int64(42_100_000), "Mean": 38.2, "Good": 99.98, "Unit": 0.0079, "From": market.Fen(790), "Sales": int64(1846)},
		"NewProduct": m{"ID": "prd_7B2M", "Icon": "cube", "Free": false, "Name": text("一个名字长到需要换行才放得下的商品，用来看卡片会不会被撑破", "A product whose name is so long that it needs a second line, to see whether the card holds"), "Seller": "临川航运数据服务有限公司（华东分部）",
			"Summary": text("刚刚上架。", "Just listed."), "Calls": int64(0), "Mean": 0.0, "Good": 0.0, "Unit": 0.0, "From": market.Fen(99_999_999_00), "Sales": int64(0)},
		"Secret": m{"Name": "AppSecret", "Value": "", "Tail": "4e7a", "Note": "parts.signature", "At": day(-113), "Reveal": "/parts/secret", "Reset": "/parts/reset"},
		"Calls": []m{
			{"At": now, "Request": "req_5T8WQ2", "Method": "GET", "Path": "/v1/sunlight", "Outcome": "charged", "Status": 200, "Millis": 38.0, "Code": ""},
			{"At": now.Add(-40 * time.Second), "Request": "req_5T8WPX", "Method": "POST", "Path": "/v1/batch", "Outcome": "refused", "Status": 429, "Millis": 1.0, "Code": "throttle.app"},
			{"At": now.Add(-70 * time.Second), "Request": "req_5T8WN4", "Method": "GET", "Path": "/v1/clouds", "Outcome": "free", "Status": 504, "Millis": 3004.0, "Code": "upstream.timeout"},
		},
		"Samples": []m{
			{"Language": "curl", "Text": "curl -G 'https://sunlight.api.example.com/v1/sunlight' \\\n  --data-urlencode 'city=苏州' \\\n  -H 'Authorization: APPCODE <AppCode>'\n\n# 200 OK\n"},
			{"Language": "Go", "Text": "// The client signs each call.\nc := sunlight.New(sunlight.AppKey(key, secret))\nday, err := c.Sunlight(ctx, \"苏州\")\nif err != nil {\n\treturn err\n}\n"},
			{"Language": "Python", "Text": "from sunlight import Client\n\n# The client signs each call.\nclient = Client(app_key, app_secret)\nprint(client.sunlight(city='苏州').hours)\n"},
		},
		"Fen": m{"Some": market.Fen(7900), "None": market.Fen(0), "Less": market.Fen(-2000), "Was": market.Fen(9600), "Much": market.Fen(99_999_999_99)},
	}
}
