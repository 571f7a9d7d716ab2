package wire

// Read takes the lines of a raw head without its request line.
func (f *Fields) Read(raw []byte) error {
	list := (*f)[:0]
	defer func() { *f = list }()
	var k known
	for at := 0; at < len(raw); {
		var one Field
		next, fault := one.read(raw, at)
		if fault != 0 {
			return fault
		}
		if next == 0 {
			return BadLineEnd
		}
		if at = next; one.Name == nil {
			continue
		}
		list = append(list, one)
		if fault := k.see(list, one.Name, one.Value); fault != 0 {
			return fault
		}
	}
	return nil
}
