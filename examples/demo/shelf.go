package demo

import (
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/examples/seller-weather/weather"
)

// product is what a demo seller offers: what is said of it, what it costs, what it answers.
type product struct {
	Key      string // the first part of its paths: "/ip/…"
	Seller   int    // in sellers
	Category market.CategoryID
	Name     market.Text
	Summary  market.Text
	Detail   market.Text
	Charge   string // empty: succeeded
	Plans    []plan
	Slots    []string // on the home page
	Bought   int64    // the demo buyer has a package of so many calls; 0: none
	AppCode  string
	SHA1     bool
	Document string // the description, where it is written by hand
	// Operations are what the description is made of where there is none by hand.
	Operations []operation
}

type plan struct {
	Calls  int64
	Price  market.Fen
	Months int
}

// operation is one interface. Without an answer it is served by the echo, and the group is
// drawn by hand instead of imported.
type operation struct {
	ID, Method, Path, Summary, Doc string
	Params                         []param
	Body                           string // media type
	BodyText                       string // an example body
	answer                         answer
}

type param struct {
	Name, In, Type string
	Required       bool
	Doc, Example   string
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
	binType  = "application/octet-stream"
)

// The demo's sellers. Nobody is called so.
var sellers = []struct{ Company, Person, Email string }{
	{"惊蛰数据 Jingzhe Data", "林晚 Lin Wan", "seller@souk.example"},
	{"七桥工坊 Seven Bridges Works", "周原 Zhou Yuan", "bridges@souk.example"},
	{"青石账簿 Greystone Ledger", "苏禾 Su He", "greystone@souk.example"},
}

const (
	jingzhe = iota
	bridges
	greystone
)

func words(zh, en string) market.Text { return market.Text{ZH: zh, EN: en} }

func query(name, kind string, required bool, doc, example string) param {
	return param{Name: name, In: "query", Type: kind, Required: required, Doc: doc, Example: example}
}

// usual are plans as most sellers have them: something to try, and cheaper by the dozen.
func usual(thousand, ten, hundred market.Fen) []plan {
	return []plan{{100, 0, 1}, {1_000, thousand, 12}, {10_000, ten, 12}, {100_000, hundred, 12}}
}

var products = []product{
	{Key: "weather", Seller: jingzhe, Category: "weather", Document: weather.OpenAPI, Slots: []string{"headline", "pick"},
		Name:    words("城市天气查询", "City weather"),
		Summary: words("十二座城市的天气实况与十天预报，按次计费，首次可免费试用。", "Current weather and ten days of forecast for twelve cities, paid by the call, free to try."),
		Detail: words("## 能得到什么\n\n- 此刻的气温、湿度、风速与天空状况\n- 一到十天的最低与最高气温\n\n查询不到的城市返回 404，不扣次数。",
			"## What you get\n\n- temperature, humidity, wind and sky of this moment\n- lows and highs for one to ten days\n\nA city that is not known is answered with 404 and costs nothing."),
		Plans: usual(990, 7900, 59900)},
	{Key: "calendar", Seller: jingzhe, Category: "calendar", Bought: 1000, Slots: []string{"pick", "campaign"},
		Name:    words("节假日与工作日", "Holidays and working days"),
		Summary: words("查询某一天是否放假、是星期几、一年中的第几周。", "Whether a day is free, which weekday and which week of the year it is."),
		Detail:  words("收录 2025 至 2028 年的法定节日当天；调休安排不在其中。", "Public holidays of 2025 to 2028 on their own day; days that are moved are not included."),
		Plans:   []plan{{100, 0, 1}, {1_000, 490, 12}, {10_000, 3900, 12}},
		Operations: []operation{
			{ID: "dayFacts", Method: "GET", Path: "/calendar/day", Summary: "某一天 A day", Doc: "是否休息日，及其名称。Whether it is a day off, and its name.",
				Params: []param{query("date", "string", false, "日期，不填为今天 The day; today if left out", "2026-10-01")}, answer: calendarDay},
			{ID: "yearHolidays", Method: "GET", Path: "/calendar/holidays", Summary: "全年节日 Holidays of a year", Doc: "一年中的节日。The holidays of a year.",
				Params: []param{query("year", "integer", true, "年份，2025 到 2028 The year, 2025 to 2028", "2026")}, answer: calendarHolidays},
		}},
	{Key: "rates", Seller: greystone, Category: "rates", Bought: 1000, Slots: []string{"pick"},
		Name:    words("汇率换算", "Currency conversion"),
		Summary: words("八种货币之间的换算，使用固定的演示汇率表。", "Conversion between eight currencies by a fixed table, for demonstration."),
		Detail:  words("汇率表是固定的，**不得用于结算**。", "The table is fixed: **not for settlement**."),
		Plans:   usual(1200, 9800, 79900),
		Operations: []operation{{ID: "convert", Method: "GET", Path: "/rates/convert", Summary: "换算 Convert", Doc: "把金额从一种货币换成另一种。Turns an amount from one currency into another.",
			Params: []param{query("from", "string", true, "原货币 From this currency", "USD"), query("to", "string", true, "目标货币 Into this one", "CNY"),
				query("amount", "number", true, "金额 The amount", "99.50")}, answer: ratesConvert}}},
	{Key: "parcel", Seller: jingzhe, Category: "logistics", Slots: []string{"pick"},
		Name:    words("快递轨迹", "Parcel tracking"),
		Summary: words("用单号查询包裹走到了哪一站。", "Where a parcel is, by its number."),
		Detail:  words("单号格式：SK、日期、六位序号、一位校验码。", "A number is SK, a date, six digits and a check digit."),
		Plans:   []plan{{50, 0, 1}, {1_000, 1500, 12}, {50_000, 59000, 12}},
		Operations: []operation{{ID: "trackParcel", Method: "GET", Path: "/parcel/track/{number}", Summary: "轨迹 Track", Doc: "包裹经过的站点。The stops of a parcel.",
			Params: []param{{Name: "number", In: "path", Type: "string", Required: true, Doc: "单号 The number", Example: "SK2605010012344"}}, answer: parcelTrack}}},
	{Key: "text", Seller: bridges, Category: "text", Slots: []string{"pick", "campaign"},
		Name:    words("中英文统计与断句", "Text counts and sentences"),
		Summary: words("统计字数、词数、汉字数，并把文章切成句子。", "Counts characters, words and Han characters, and cuts a text into sentences."),
		Detail:  words("适合在发布前检查标题与摘要的长度。", "Good for checking titles and summaries before they are published."),
		Plans:   usual(690, 5200, 39900),
		Operations: []operation{
			{ID: "countText", Method: "POST", Path: "/text/count", Summary: "统计 Count", Doc: "字符、词、汉字和数字各有多少。How many characters, words, Han characters and digits.", Body: formType,
				Params: []param{{Name: "text", In: "form", Type: "string", Required: true, Doc: "文本 The text", Example: "杭州西湖 West Lake 2026"}}, answer: textCount},
			{ID: "cutSentences", Method: "POST", Path: "/text/sentences", Summary: "断句 Sentences", Doc: "把文本切成句子。Cuts a text into sentences.", Body: formType,
				Params: []param{{Name: "text", In: "form", Type: "string", Required: true, Doc: "文本 The text", Example: "雨停了。我们走吧！Shall we?"}}, answer: textSentences},
		}},
	{Key: "image", Seller: bridges, Category: "vision",
		Name:    words("图片基本信息", "Image facts"),
		Summary: words("识别图片的格式、尺寸、平均颜色与明暗。", "Format, size, mean colour and brightness of a picture."),
		Detail:  words("支持 PNG、JPEG、GIF，最多四百万像素。图片不保存。", "PNG, JPEG and GIF of up to four million points. Pictures are not kept."),
		Plans:   []plan{{50, 0, 1}, {1_000, 1900, 12}, {10_000, 15900, 12}}, Charge: "answered",
		Operations: []operation{{ID: "imageFacts", Method: "POST", Path: "/image/facts", Summary: "图片信息 Facts of a picture", Doc: "正文就是图片本身。The body is the picture itself.",
			Body: binType, BodyText: string(dot), answer: imageFacts}}},
	{Key: "idcard", Seller: greystone, Category: "risk",
		Name:    words("身份证号校验", "Identity number check"),
		Summary: words("检查十八位号码的校验位、出生日期与性别位，不核实本人。", "Checks digit, birthday and sex of an 18-digit number; says nothing about a person."),
		Detail:  words("只做算术，不查询任何数据库。", "Arithmetic only; no register is asked."),
		Plans:   usual(1900, 15900, 129900),
		Operations: []operation{{ID: "checkIdentityNumber", Method: "GET", Path: "/idcard/check", Summary: "校验 Check", Doc: "号码是否自洽。Whether a number agrees with itself.",
			Params: []param{query("number", "string", true, "号码 The number", "11010519491231002X")}, answer: idCheck}}},
	{Key: "ip", Seller: bridges, Category: "network", Bought: 1000, Slots: []string{"pick"},
		Name:    words("IP 地址归类", "IP address classes"),
		Summary: words("地址是公网还是内网，网段有多大、包含谁。", "Whether an address is public or private, how large a network is and whom it contains."),
		Detail:  words("同时支持 IPv4 与 IPv6。", "For IPv4 and IPv6."),
		Plans:   usual(590, 4500, 35900),
		Operations: []operation{
			{ID: "classifyAddress", Method: "GET", Path: "/ip/classify", Summary: "归类 Classify", Doc: "地址属于哪一类。Which class an address belongs to.",
				Params: []param{query("address", "string", true, "地址 The address", "10.1.2.3")}, answer: ipClassify},
			{ID: "describeNetwork", Method: "GET", Path: "/ip/network", Summary: "网段 Network", Doc: "网段的大小与归属。Size of a network, and whether it contains an address.",
				Params: []param{query("network", "string", true, "网段 The network", "192.168.1.0/24"), query("address", "string", false, "地址 An address", "192.168.1.77")}, answer: ipNetwork},
		}},
	{Key: "vat", Seller: greystone, Category: "invoice",
		Name:    words("欧洲增值税号校验", "European VAT number check"),
		Summary: words("检查八国增值税号的格式与校验位。", "Form and check digits of VAT numbers of eight countries."),
		Detail:  words("开票前先查一遍，少一次退票。", "Check before you invoice, and save a correction."),
		Plans:   usual(1500, 11900, 89900),
		Operations: []operation{{ID: "checkVatNumber", Method: "GET", Path: "/vat/check", Summary: "校验 Check", Doc: "税号是否成立。Whether a number is well formed.",
			Params: []param{query("number", "string", true, "税号 The number", "DE136695976")}, answer: vatCheck}}},
	{Key: "company", Seller: greystone, Category: "company",
		Name:    words("统一社会信用代码校验", "Social credit code check"),
		Summary: words("检查十八位代码的校验位，并拆出登记机关与地区。", "Checks the 18 characters of a code and takes it apart."),
		Detail:  words("只做算术，不提供企业资料。", "Arithmetic only; no company records."),
		Plans:   []plan{{100, 0, 1}, {1_000, 1200, 12}, {10_000, 9900, 12}},
		Operations: []operation{{ID: "checkCreditCode", Method: "GET", Path: "/company/code", Summary: "校验 Check", Doc: "代码是否成立。Whether a code is well formed.",
			Params: []param{query("code", "string", true, "代码 The code", "91330106MA2B0CX92K")}, answer: companyCode}}},
	{Key: "phone", Seller: bridges, Category: "number", Slots: []string{"pick"},
		Name:    words("号码归属地", "Telephone regions"),
		Summary: words("由区号得到国家与城市，并规范成国际格式。", "Country and city by prefix, and the number in international form."),
		Detail:  words("不知道号码属于谁，也不保存号码。", "It does not know whose number it is, and keeps none."),
		Plans:   usual(790, 6200, 49900),
		Operations: []operation{{ID: "phoneRegion", Method: "GET", Path: "/phone/region", Summary: "归属地 Region", Doc: "号码属于哪里。Where a number belongs.",
			Params: []param{query("number", "string", true, "号码 The number", "0571-88157700")}, answer: phoneRegion}}},
	{Key: "sms", Seller: bridges, Category: "sms",
		Name:    words("短信条数计算", "Short message parts"),
		Summary: words("一段文字会被拆成几条短信，用哪种编码。", "Into how many short messages a text is cut, and in which coding."),
		Detail:  words("发送之前先算清楚价钱。", "Know the price before you send."),
		Plans:   []plan{{1_000, 300, 12}, {10_000, 2200, 12}},
		Operations: []operation{{ID: "countParts", Method: "POST", Path: "/sms/parts", Summary: "计算 Count", Doc: "条数与编码。Parts and coding.", Body: formType,
			Params: []param{{Name: "text", In: "form", Type: "string", Required: true, Doc: "短信正文 The text", Example: "您的包裹已到达，请及时领取。"}}, answer: smsParts}}},
	{Key: "geo", Seller: jingzhe, Category: "travel", Slots: []string{"campaign"},
		Name:    words("两地距离与方位", "Distance and bearing"),
		Summary: words("两座城市或两个坐标之间的大圆距离与方位角。", "Great-circle distance and bearing between two cities or points."),
		Detail:  words("直线距离，不是行车里程。", "As the crow flies, not by road."),
		Plans:   usual(590, 4900, 38900),
		Operations: []operation{{ID: "distance", Method: "GET", Path: "/geo/distance", Summary: "距离 Distance", Doc: "距离（公里）与方位角。Kilometres and bearing.",
			Params: []param{query("from", "string", true, "城市或坐标 A city or latitude,longitude", "hangzhou"), query("to", "string", true, "城市或坐标 A city or latitude,longitude", "39.90,116.40")}, answer: geoDistance}}},
	{Key: "time", Seller: jingzhe, Category: "calendar",
		Name:    words("时区换算", "Time zones"),
		Summary: words("把一个时刻换到另一个时区，自动处理夏令时。", "A time in another zone, with daylight saving."),
		Detail:  words("时区名称采用通行的“洲/城市”写法。", "Zones are named by continent and city."),
		Plans:   []plan{{1_000, 390, 12}, {10_000, 2900, 12}},
		Operations: []operation{{ID: "convertTime", Method: "GET", Path: "/time/convert", Summary: "换算 Convert", Doc: "另一时区的时间。The time in another zone.",
			Params: []param{query("time", "string", true, "时刻 The time", "2026-05-01T14:30"), query("from", "string", true, "原时区 From this zone", "Asia/Shanghai"),
				query("to", "string", true, "目标时区 Into this one", "Europe/London")}, answer: timeConvert}}},
	{Key: "uuid", Seller: bridges, Category: "testing",
		Name:    words("由名称生成 UUID", "UUID from a name"),
		Summary: words("同一个名称总得到同一个第五版 UUID。", "The same name always has the same UUID of version 5."),
		Detail:  words("用于测试数据与幂等键。", "For test data and idempotency keys."),
		Plans:   []plan{{10_000, 0, 0}},
		Operations: []operation{{ID: "uuidFromName", Method: "GET", Path: "/uuid/name", Summary: "生成 Make", Doc: "名称的 UUID。The UUID of a name.",
			Params: []param{query("name", "string", true, "名称 The name", "https://souk.example/orders/1")}, answer: nameUUID}}},
	{Key: "accept", Seller: bridges, Category: "testing", Bought: 100_000, AppCode: "HEADER_QUERY", SHA1: true,
		Name:    words("回声联调", "Echo for testing"),
		Summary: words("收到什么就原样返回什么：方法、地址、头、正文，用来调试签名。", "Sends back what it received: method, address, headers, body. Made for getting signatures right."),
		Detail:  words("直通模式：AppCode 可放在头或查询里，也接受两种签名算法。", "Pass-through: AppCode in the header or the query, or a signature by either algorithm."),
		Plans:   []plan{{1_000, 0, 1}, {100_000, 100, 12}},
		Operations: []operation{
			{Method: "GET", Path: "/accept/get"}, {Method: "HEAD", Path: "/accept/get"}, {Method: "DELETE", Path: "/accept/get"},
			{Method: "GET", Path: "/accept/get/{id}"}, {Method: "POST", Path: "/accept/form"},
			{Method: "POST", Path: "/accept/json"}, {Method: "PUT", Path: "/accept/json"}, {Method: "PATCH", Path: "/accept/json"},
			{Method: "POST", Path: "/accept/bin"}, {Method: "PUT", Path: "/accept/bin"},
		}},
}

// dot is a picture of one point, the smallest that there is.
var dot = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x80\x40\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")
