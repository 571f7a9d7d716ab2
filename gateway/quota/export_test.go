package quota

// Sweep does at once what is done every minute.
func (q *Quota) Sweep() { q.sweep() }
