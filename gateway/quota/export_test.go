package quota

// ClearCache empties the cache, as its owner may do at any moment.
func (q *Quota) ClearCache() { q.cache.Clear() }

// Sweep does at once what is done every minute.
func (q *Quota) Sweep() { q.sweep() }
