package wire

import "bytes"

// Read takes the lines of a raw head without its request line.
func (f *Fields) Read(raw []byte) error {
	list := (*f)[:0]
	defer func() { *f = list }()
	var k known
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\n')
		if i < 0 {
			return BadLineEnd
		}
		text := bytes.TrimSuffix(raw[:i], []byte("\r"))
		raw = raw[i+1:]
		if len(text) == 0 {
			continue
		}
		one, err := field(text)
		if err != nil {
			return err
		}
		list = append(list, one)
		if err := k.see(list); err != nil {
			return err
		}
	}
	return nil
}
