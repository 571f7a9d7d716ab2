package demo

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"image"
	_ "image/gif"  // pictures that the image product reads
	_ "image/jpeg" // and these
	_ "image/png"  // and these
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/souk-market/souk/gateway/control"
)

// fixed are the holidays that have a fixed date. Those of the lunar calendar are listed by
// year.
var fixed = map[string][2]string{
	"01-01": {"元旦", "New Year's Day"},
	"05-01": {"劳动节", "Labour Day"},
	"10-01": {"国庆节", "National Day"},
}

var lunar = map[string][2]string{
	"2025-01-29": {"春节", "Spring Festival"}, "2025-05-31": {"端午节", "Dragon Boat Festival"}, "2025-10-06": {"中秋节", "Mid-Autumn Festival"},
	"2026-02-17": {"春节", "Spring Festival"}, "2026-06-19": {"端午节", "Dragon Boat Festival"}, "2026-09-25": {"中秋节", "Mid-Autumn Festival"},
	"2027-02-06": {"春节", "Spring Festival"}, "2027-06-09": {"端午节", "Dragon Boat Festival"}, "2027-09-15": {"中秋节", "Mid-Autumn Festival"},
	"2028-01-26": {"春节", "Spring Festival"}, "2028-05-28": {"端午节", "Dragon Boat Festival"}, "2028-10-03": {"中秋节", "Mid-Autumn Festival"},
}

func holiday(d time.Time) ([2]string, bool) {
	if h, ok := fixed[d.Format("01-02")]; ok {
		return h, true
	}
	h, ok := lunar[d.Format(time.DateOnly)]
	return h, ok
}

func date(q question, name string) (time.Time, error) {
	text := q.get(name)
	if text == "" {
		text = q.now.UTC().Format(time.DateOnly)
	}
	d, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return d, bad(name + " is written like 2026-05-01")
	}
	return d, nil
}

func calendarDay(q question) (any, error) {
	d, err := date(q, "date")
	if err != nil {
		return nil, err
	}
	_, week := d.ISOWeek()
	h, off := holiday(d)
	weekend := d.Weekday() == time.Saturday || d.Weekday() == time.Sunday
	return map[string]any{"date": d.Format(time.DateOnly), "weekday": d.Weekday().String(), "week": week, "day_of_year": d.YearDay(),
		"weekend": weekend, "holiday": off, "zh": h[0], "en": h[1], "work": !weekend && !off}, nil
}

func calendarHolidays(q question) (any, error) {
	year, err := strconv.Atoi(q.get("year"))
	if err != nil || year < 2025 || year > 2028 {
		return nil, bad("year is from 2025 to 2028")
	}
	list := []any{}
	for d := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() == year; d = d.AddDate(0, 0, 1) {
		if h, ok := holiday(d); ok {
			list = append(list, map[string]any{"date": d.Format(time.DateOnly), "zh": h[0], "en": h[1]})
		}
	}
	return map[string]any{"year": year, "holidays": list}, nil
}

// perYuan is a fixed table: so much of a currency is one yuan.
var perYuan = map[string]float64{"CNY": 1, "USD": 0.14, "EUR": 0.128, "GBP": 0.108, "JPY": 21.2, "HKD": 1.09, "SGD": 0.184, "CHF": 0.121}

func rate(q question, from, to string) (float64, error) {
	a, b := perYuan[strings.ToUpper(q.get(from))], perYuan[strings.ToUpper(q.get(to))]
	if a == 0 || b == 0 {
		return 0, none("currencies are CNY, USD, EUR, GBP, JPY, HKD, SGD and CHF")
	}
	return b / a, nil
}

func round(f float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(f*p) / p
}

func ratesConvert(q question) (any, error) {
	r, err := rate(q, "from", "to")
	if err != nil {
		return nil, err
	}
	amount, err := strconv.ParseFloat(q.get("amount"), 64)
	if err != nil || amount < 0 || amount > 1e12 || math.IsNaN(amount) {
		return nil, bad("amount is a number that is not negative")
	}
	return map[string]any{"from": strings.ToUpper(q.get("from")), "to": strings.ToUpper(q.get("to")), "amount": amount,
		"rate": round(r, 6), "result": round(amount*r, 2)}, nil
}

var stops = []struct {
	zh, en string
	after  time.Duration
}{
	{"已揽收", "picked up", 0},
	{"到达分拨中心", "at the sorting centre", 7 * time.Hour},
	{"运输途中", "on its way", 11 * time.Hour},
	{"到达派送站", "at the delivery station", 33 * time.Hour},
	{"派送中", "out for delivery", 39 * time.Hour},
	{"已签收", "delivered", 43 * time.Hour},
}

// parcelTrack follows a parcel whose number says when it began: SK, the date as yymmdd,
// six digits, and their sum modulo ten.
func parcelTrack(q question) (any, error) {
	n := strings.ToUpper(q.get("number"))
	if len(n) != 15 || !strings.HasPrefix(n, "SK") || strings.Trim(n[2:], "0123456789") != "" {
		return nil, bad("a number is SK and 13 digits")
	}
	begin, err := time.Parse("060102", n[2:8])
	sum := 0
	for _, c := range n[2:14] {
		sum += int(c - '0')
	}
	if err != nil || sum%10 != int(n[14]-'0') {
		return nil, none("no parcel has this number")
	}
	begin = begin.Add(9 * time.Hour)
	list, state := []any{}, "announced"
	for _, s := range stops {
		if at := begin.Add(s.after); !at.After(q.now) {
			list = append(list, map[string]any{"at": at.Format(time.RFC3339), "zh": s.zh, "en": s.en})
			state = s.en
		}
	}
	return map[string]any{"number": n, "state": state, "delivered": len(list) == len(stops), "stops": list}, nil
}

func textCount(q question) (any, error) {
	text := q.get("text")
	var han, words, digits int
	inWord := false
	for _, r := range text {
		letter := unicode.IsLetter(r) && !unicode.Is(unicode.Han, r)
		if letter && !inWord {
			words++
		}
		inWord = letter
		if unicode.Is(unicode.Han, r) {
			han++
		}
		if unicode.IsDigit(r) {
			digits++
		}
	}
	return map[string]any{"characters": utf8.RuneCountInString(text), "bytes": len(text), "han": han, "words": words, "digits": digits,
		"lines": 1 + strings.Count(text, "\n")}, nil
}

func textSentences(q question) (any, error) {
	list := []string{}
	for _, s := range strings.FieldsFunc(q.get("text"), func(r rune) bool { return strings.ContainsRune("。！？!?.\n", r) }) {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return map[string]any{"count": len(list), "sentences": list}, nil
}

func imageFacts(q question) (any, error) {
	head, _, err := image.DecodeConfig(bytes.NewReader(q.body))
	if err != nil {
		return nil, bad("the body is no PNG, JPEG or GIF")
	}
	if head.Width*head.Height > 4_000_000 {
		return nil, bad("the picture has more than four million points")
	}
	m, kind, err := image.Decode(bytes.NewReader(q.body))
	if err != nil {
		return nil, bad("the picture is damaged")
	}
	var r, g, b, n float64
	for y := m.Bounds().Min.Y; y < m.Bounds().Max.Y; y++ {
		for x := m.Bounds().Min.X; x < m.Bounds().Max.X; x++ {
			cr, cg, cb, _ := m.At(x, y).RGBA()
			r, g, b, n = r+float64(cr>>8), g+float64(cg>>8), b+float64(cb>>8), n+1
		}
	}
	n = max(n, 1)
	light := (0.2126*r + 0.7152*g + 0.0722*b) / n / 255
	return map[string]any{"format": kind, "width": head.Width, "height": head.Height,
		"colour": fmt.Sprintf("#%02x%02x%02x", int(r/n), int(g/n), int(b/n)), "light": round(light, 3), "dark": light < 0.5}, nil
}

var idWeights = []int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2}

// idCheck reads what an identity number says of itself; it knows nobody.
func idCheck(q question) (any, error) {
	n := strings.ToUpper(q.get("number"))
	if len(n) != 18 || strings.Trim(n[:17], "0123456789") != "" {
		return nil, bad("a number has 17 digits and a check character")
	}
	sum := 0
	for i, w := range idWeights {
		sum += w * int(n[i]-'0')
	}
	born, err := time.Parse("20060102", n[6:14])
	valid := "10X98765432"[sum%11] == n[17] && err == nil
	out := map[string]any{"valid": valid, "region": n[:6], "born": "", "sex": ""}
	if valid {
		out["born"] = born.Format(time.DateOnly)
		out["sex"] = [...]string{"female", "male"}[(n[16]-'0')%2]
	}
	return out, nil
}

func ipClassify(q question) (any, error) {
	a, err := netip.ParseAddr(q.get("address"))
	if err != nil {
		return nil, bad("address is an IPv4 or IPv6 address")
	}
	version := 6
	if a.Unmap().Is4() {
		version = 4
	}
	return map[string]any{"address": a.String(), "version": version, "public": control.PublicAddress(a), "private": a.IsPrivate(),
		"loopback": a.IsLoopback(), "multicast": a.IsMulticast(), "link_local": a.IsLinkLocalUnicast()}, nil
}

func ipNetwork(q question) (any, error) {
	p, err := netip.ParsePrefix(q.get("network"))
	if err != nil {
		return nil, bad("network is written like 192.168.1.0/24")
	}
	p = p.Masked()
	size := math.Pow(2, float64(p.Addr().BitLen()-p.Bits()))
	out := map[string]any{"network": p.String(), "first": p.Addr().String(), "addresses": size}
	if a := q.get("address"); a != "" {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return nil, bad("address is an IPv4 or IPv6 address")
		}
		out["contains"] = p.Contains(addr)
	}
	return out, nil
}

// vatLengths are how many digits follow the country in numbers that have digits alone.
var vatLengths = map[string]int{"DE": 9, "DK": 8, "FI": 8, "LU": 8, "PL": 10, "IT": 11, "PT": 9, "EE": 9}

// vatCheck looks at the form of a number, and where it has a check digit, at that.
func vatCheck(q question) (any, error) {
	n := strings.ToUpper(strings.NewReplacer(" ", "", ".", "", "-", "").Replace(q.get("number")))
	if len(n) < 3 {
		return nil, bad("a number begins with two letters of its country")
	}
	length, known := vatLengths[n[:2]]
	if !known {
		return nil, none("countries are DE, DK, EE, FI, IT, LU, PL and PT")
	}
	digits := n[2:]
	form := len(digits) == length && strings.Trim(digits, "0123456789") == ""
	return map[string]any{"number": n, "country": n[:2], "form": form, "valid": form && vatDigit(n[:2], digits)}, nil
}

func vatDigit(country, d string) bool {
	at := func(i int) int { return int(d[i] - '0') }
	switch country {
	case "DE": // ISO 7064, MOD 11,10
		p := 10
		for i := range 8 {
			s := (at(i) + p) % 10
			if s == 0 {
				s = 10
			}
			p = 2 * s % 11
		}
		return (11-p)%10 == at(8)
	case "DK":
		return weigh(d, 2, 7, 6, 5, 4, 3, 2, 1)%11 == 0
	case "FI":
		c := (11 - weigh(d[:7], 7, 9, 10, 5, 8, 4, 2)%11) % 11
		return c != 10 && c == at(7)
	case "LU":
		n, err := strconv.Atoi(d[:6])
		return err == nil && n%89 == at(6)*10+at(7)
	case "PL":
		return weigh(d[:9], 6, 5, 7, 2, 3, 4, 5, 6, 7)%11 == at(9)
	case "PT":
		c := 11 - weigh(d[:8], 9, 8, 7, 6, 5, 4, 3, 2)%11
		return c%11%10 == at(8)
	case "EE":
		return (10-weigh(d[:8], 3, 7, 1, 3, 7, 1, 3, 7)%10)%10 == at(8)
	case "IT": // every second digit is doubled and its digits added
		sum := 0
		for i := range 11 {
			v := at(i)
			if i%2 == 1 {
				v *= 2
				v = v/10 + v%10
			}
			sum += v
		}
		return sum%10 == 0
	}
	return false
}

func weigh(digits string, weights ...int) (sum int) {
	for i, w := range weights {
		sum += w * int(digits[i]-'0')
	}
	return sum
}

// dialling are prefixes of telephone numbers, the longest first.
var dialling = []struct{ prefix, zh, en string }{
	{"+86571", "中国 杭州", "China, Hangzhou"}, {"+86755", "中国 深圳", "China, Shenzhen"},
	{"+8610", "中国 北京", "China, Beijing"}, {"+8621", "中国 上海", "China, Shanghai"}, {"+8628", "中国 成都", "China, Chengdu"},
	{"+861", "中国 手机", "China, mobile"}, {"+852", "香港", "Hong Kong"}, {"+86", "中国", "China"}, {"+65", "新加坡", "Singapore"},
	{"+81", "日本", "Japan"}, {"+44", "英国", "United Kingdom"}, {"+49", "德国", "Germany"}, {"+33", "法国", "France"}, {"+1", "北美", "North America"},
}

func phoneRegion(q question) (any, error) {
	n := strings.NewReplacer(" ", "", "-", "", "(", "", ")", "").Replace(q.get("number"))
	if strings.HasPrefix(n, "00") {
		n = "+" + n[2:]
	}
	if !strings.HasPrefix(n, "+") {
		n = "+86" + strings.TrimPrefix(n, "0")
	}
	if len(n) < 6 || len(n) > 16 || strings.Trim(n[1:], "0123456789") != "" {
		return nil, bad("number is a telephone number")
	}
	for _, d := range dialling {
		if strings.HasPrefix(n, d.prefix) {
			return map[string]any{"number": n, "prefix": d.prefix, "zh": d.zh, "en": d.en}, nil
		}
	}
	return nil, none("no region has this prefix")
}

var places = map[string][2]float64{"beijing": {39.90, 116.40}, "shanghai": {31.23, 121.47}, "hangzhou": {30.27, 120.16}, "shenzhen": {22.54, 114.06},
	"chengdu": {30.57, 104.07}, "xian": {34.34, 108.94}, "singapore": {1.35, 103.82}, "tokyo": {35.68, 139.69}, "london": {51.51, -0.13}}

func point(q question, name string) ([2]float64, error) {
	text := strings.ToLower(q.get(name))
	if p, ok := places[text]; ok {
		return p, nil
	}
	a, b, _ := strings.Cut(text, ",")
	lat, err1 := strconv.ParseFloat(strings.TrimSpace(a), 64)
	lon, err2 := strconv.ParseFloat(strings.TrimSpace(b), 64)
	if err1 != nil || err2 != nil || math.Abs(lat) > 90 || math.Abs(lon) > 180 {
		return [2]float64{}, bad(name + " is a city or latitude,longitude")
	}
	return [2]float64{lat, lon}, nil
}

// geoDistance is the way along the great circle.
func geoDistance(q question) (any, error) {
	a, err := point(q, "from")
	if err != nil {
		return nil, err
	}
	b, err := point(q, "to")
	if err != nil {
		return nil, err
	}
	rad := math.Pi / 180
	dLat, dLon := (b[0]-a[0])*rad, (b[1]-a[1])*rad
	h := math.Pow(math.Sin(dLat/2), 2) + math.Cos(a[0]*rad)*math.Cos(b[0]*rad)*math.Pow(math.Sin(dLon/2), 2)
	y := math.Sin(dLon) * math.Cos(b[0]*rad)
	x := math.Cos(a[0]*rad)*math.Sin(b[0]*rad) - math.Sin(a[0]*rad)*math.Cos(b[0]*rad)*math.Cos(dLon)
	return map[string]any{"km": round(2*6371*math.Asin(math.Min(1, math.Sqrt(h))), 1),
		"bearing": round(math.Mod(math.Atan2(y, x)/rad+360, 360), 1)}, nil
}

// smsParts says into how many short messages a text is cut.
func smsParts(q question) (any, error) {
	text := q.get("text")
	plain := strings.IndexFunc(text, func(r rune) bool { return r > 126 || r < 32 && r != '\n' && r != '\r' || r == '`' }) < 0
	length, one, many, coding := 0, 70, 67, "UCS-2"
	if plain {
		one, many, coding = 160, 153, "GSM-7"
	}
	for _, r := range text {
		length++
		if plain && strings.ContainsRune("^{}\\[~]|", r) || r > 0xFFFF {
			length++ // an escape, or a pair of surrogates
		}
	}
	parts := 1
	if length > one {
		parts = (length + many - 1) / many
	}
	return map[string]any{"coding": coding, "length": length, "parts": parts}, nil
}

const creditAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"

// companyCode checks a unified social credit code by its last character.
func companyCode(q question) (any, error) {
	n := strings.ToUpper(q.get("code"))
	if len(n) != 18 {
		return nil, bad("a code has 18 characters")
	}
	sum, w := 0, 1
	for i := range 17 {
		v := strings.IndexByte(creditAlphabet, n[i])
		if v < 0 {
			return nil, bad("a code has digits and capital letters, but not I, O, S, V and Z")
		}
		sum += v * w
		w = w * 3 % 31
	}
	return map[string]any{"code": n, "valid": creditAlphabet[(31-sum%31)%31] == n[17], "authority": n[:1], "kind": n[1:2], "region": n[2:8]}, nil
}

// nameUUID is a UUID of version 5: the same name has the same one.
func nameUUID(q question) (any, error) {
	space := []byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8} // for addresses
	h := sha1.Sum(append(space, q.get("name")...))
	u := h[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return map[string]any{"name": q.get("name"), "version": 5, "uuid": fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])}, nil
}

func timeConvert(q question) (any, error) {
	from, err1 := time.LoadLocation(q.get("from"))
	to, err2 := time.LoadLocation(q.get("to"))
	if err1 != nil || err2 != nil {
		return nil, none("zones are named like Asia/Shanghai")
	}
	at, err := time.ParseInLocation("2006-01-02T15:04", q.get("time"), from)
	if err != nil {
		return nil, bad("time is written like 2026-05-01T14:30")
	}
	_, offset := at.In(to).Zone()
	return map[string]any{"time": at.In(to).Format("2006-01-02T15:04"), "zone": to.String(), "offset_minutes": offset / 60, "utc": at.UTC().Format(time.RFC3339)}, nil
}
