package market

import "time"

// PeriodEnd is the end of a period of calendar months that begins now: it runs to the end
// of the anniversary day in the market's zone, so that it is never shorter than what was
// paid for, and is shown with the day after it (API-11b). A day that the month does not
// have becomes its last. No months: the zero time, which is no end.
func PeriodEnd(from time.Time, months int, zone *time.Location) time.Time {
	if months == 0 {
		return time.Time{}
	}
	y, m, d := from.In(zone).Date()
	first := time.Date(y, m+time.Month(months), 1, 0, 0, 0, 0, zone)
	last := first.AddDate(0, 1, -1).Day()
	return time.Date(first.Year(), first.Month(), min(d, last)+1, 0, 0, 0, 0, zone).UTC()
}
