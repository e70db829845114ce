package plugin

import "sessiongate/verdict"

// A header map crosses the border as the number of pairs, the lengths of every name
// and value, and then names and values, each with a zero byte behind it. Numbers are
// 32 bits, little endian.

// appendFields decodes a map. The fields refer to the text.
func appendFields(dst []verdict.Field, text string) ([]verdict.Field, bool) {
	if text == "" {
		return dst, true
	}
	if len(text) < 4 {
		return dst, false
	}
	n := int(uint32At(text, 0))
	if n > (len(text)-4)/10 { // two lengths and two zero bytes each
		return dst, false
	}
	lengths, rest := text[4:4+8*n], text[4+8*n:]
	for i := range n {
		name, value := uint32At(lengths, 8*i), uint32At(lengths, 8*i+4)
		need := uint64(name) + uint64(value) + 2
		if need > uint64(len(rest)) {
			return dst, false
		}
		dst = append(dst, verdict.Field{Name: rest[:name], Value: rest[name+1 : name+1+value]})
		rest = rest[need:]
	}
	return dst, true
}

// appendPairs encodes a map. Control bytes are left out of the values, since the
// proxy would send them as they are: a line feed would begin another field.
func appendPairs(dst []byte, fields []verdict.Field) []byte {
	dst = appendUint32(dst, uint32(len(fields)))
	start := len(dst)
	for _, f := range fields {
		dst = appendUint32(appendUint32(dst, uint32(len(f.Name))), 0)
	}
	for i, f := range fields {
		dst = append(append(dst, f.Name...), 0)
		from := len(dst)
		for j := range len(f.Value) {
			if c := f.Value[j]; c >= ' ' && c != 0x7f {
				dst = append(dst, c)
			}
		}
		putUint32(dst[start+8*i+4:], uint32(len(dst)-from))
		dst = append(dst, 0)
	}
	return dst
}

func uint32At(s string, i int) uint32 {
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

func putUint32(dst []byte, n uint32) {
	dst[0], dst[1], dst[2], dst[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
}

func appendUint32(dst []byte, n uint32) []byte {
	return append(dst, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

func uint64At(s string, i int) uint64 {
	return uint64(uint32At(s, i)) | uint64(uint32At(s, i+4))<<32
}

func appendUint64(dst []byte, n uint64) []byte {
	return appendUint32(appendUint32(dst, uint32(n)), uint32(n>>32))
}
