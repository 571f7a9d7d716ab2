package market

import (
	"math"
	"testing"
	"time"
)

func TestYuan(t *testing.T) {
	for in, want := range map[string]Fen{"79": 7900, "79.0": 7900, "79.00": 7900, "0.01": 1, "0": 0, "-2.5": -250, " 1.20 ": 120, "9999999999999.99": 999999999999999} {
		got, err := ParseYuan(in)
		if err != nil || got != want {
			t.Errorf("ParseYuan(%q) = %d, %v; want %d", in, got, err, want)
		}
		if back, err := ParseYuan(got.Yuan()); err != nil || back != got {
			t.Errorf("%q does not come back: %d, %v", got.Yuan(), back, err)
		}
	}
	for _, in := range []string{"", ".5", "1.234", "1,2", "¥1", "1e3", "--1", "99999999999999", "NaN"} {
		if got, err := ParseYuan(in); err == nil {
			t.Errorf("ParseYuan(%q) = %d, want an error", in, got)
		}
	}
}

// API-11b: to the end of the anniversary day, shown as the day after; never shorter than
// what was paid for, over twenty years of days.
func TestPeriodEnd(t *testing.T) {
	zone := time.FixedZone("UTC+8", 8*3600)
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 15, 30, 0, 0, zone) }
	for _, c := range []struct {
		from   time.Time
		months int
		want   string
	}{
		{day(2020, 2, 25), 12, "2021-02-26"}, {day(2020, 1, 6), 12, "2021-01-07"}, {day(2024, 2, 29), 12, "2025-03-01"},
		{day(2026, 1, 31), 1, "2026-03-01"}, {day(2026, 12, 31), 2, "2027-03-01"}, {day(2026, 11, 24), 3, "2027-02-25"},
	} {
		if got := PeriodEnd(c.from, c.months, zone).In(zone).Format("2006-01-02"); got != c.want {
			t.Errorf("%d months from %s end %s, want %s", c.months, c.from.Format("2006-01-02"), got, c.want)
		}
	}
	if !PeriodEnd(day(2026, 1, 1), 0, zone).IsZero() {
		t.Error("no months have an end")
	}
	for d := day(2010, 1, 1); d.Year() < 2030; d = d.AddDate(0, 0, 1) {
		for _, months := range []int{1, 3, 12} {
			end := PeriodEnd(d, months, zone)
			if clamp := d.AddDate(0, months, -3); end.Before(clamp) {
				t.Fatalf("%d months from %s end %s", months, d, end)
			}
			if next := PeriodEnd(d.AddDate(0, 0, 1), months, zone); next.Before(end) {
				t.Fatalf("a later day ends earlier: %s", d)
			}
		}
	}
}

func TestNewID(t *testing.T) {
	now := time.Now()
	a, b := NewID("ord", now), NewID("ord", now.Add(time.Millisecond))
	if len(a) != len(b) || a[:4] != "ord_" || a >= b {
		t.Errorf("%s, %s", a, b)
	}
	seen := map[string]bool{}
	for range 10_000 {
		id := NewID("x", now)
		if seen[id] {
			t.Fatal("twice the same")
		}
		seen[id] = true
	}
	if Fen(math.MinInt64 + 1).Yuan()[0] != '-' {
		t.Error("the least amount has no sign")
	}
}
