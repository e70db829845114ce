package strict

// base64url (RFC 4648 section 5) as RFC 7515 section 2 wants it: no padding, no
// white space, no other alphabet, and the unused bits of the last character zero,
// so that each byte string has exactly one spelling.

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

var sextets = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(alphabet) {
		t[alphabet[i]] = uint8(i)
	}
	return t
}()

// DecodedLen is the number of bytes that n characters stand for.
func DecodedLen(n int) int { return n * 6 / 8 }

// DecodeBase64 decodes src into dst, which has room for DecodedLen(len(src)) bytes.
func DecodeBase64(dst, src []byte) (n int, ok bool) {
	if len(src)%4 == 1 || len(dst) < DecodedLen(len(src)) {
		return 0, false
	}
	for len(src) >= 4 {
		a, b, c, d := sextets[src[0]], sextets[src[1]], sextets[src[2]], sextets[src[3]]
		if a|b|c|d > 63 {
			return 0, false
		}
		v := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(d)
		out := dst[n : n+3 : n+3]
		out[0], out[1], out[2] = byte(v>>16), byte(v>>8), byte(v)
		n += 3
		src = src[4:]
	}
	switch len(src) {
	case 2:
		a, b := sextets[src[0]], sextets[src[1]]
		if a|b > 63 || b&0x0f != 0 {
			return 0, false
		}
		dst[n] = a<<2 | b>>4
		n++
	case 3:
		a, b, c := sextets[src[0]], sextets[src[1]], sextets[src[2]]
		if a|b|c > 63 || c&0x03 != 0 {
			return 0, false
		}
		dst[n], dst[n+1] = a<<2|b>>4, b<<4|c>>2
		n += 2
	}
	return n, true
}

// AppendBase64 appends src's base64url spelling to dst.
func AppendBase64(dst, src []byte) []byte {
	for len(src) >= 3 {
		v := uint32(src[0])<<16 | uint32(src[1])<<8 | uint32(src[2])
		dst = append(dst, alphabet[v>>18], alphabet[v>>12&63], alphabet[v>>6&63], alphabet[v&63])
		src = src[3:]
	}
	switch len(src) {
	case 1:
		dst = append(dst, alphabet[src[0]>>2], alphabet[src[0]<<4&63])
	case 2:
		v := uint32(src[0])<<8 | uint32(src[1])
		dst = append(dst, alphabet[v>>10], alphabet[v>>4&63], alphabet[v<<2&63])
	}
	return dst
}

// SplitCompact splits a compact JWS (RFC 7515 section 7.1) into its three
// segments and the signing input, the first two with the dot between them. It
// answers false unless there are exactly three and the first two are not empty.
// An empty signature is left for the caller to refuse.
func SplitCompact(token []byte) (header, payload, signature, input []byte, ok bool) {
	first, second := -1, -1
	for i, c := range token {
		if c != '.' {
			continue
		}
		switch {
		case first < 0:
			first = i
		case second < 0:
			second = i
		default:
			return nil, nil, nil, nil, false
		}
	}
	if first < 1 || second < 0 {
		return nil, nil, nil, nil, false
	}
	return token[:first], token[first+1 : second], token[second+1:], token[:second], true
}
