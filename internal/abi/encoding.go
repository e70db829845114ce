package abi

import "sessiongate/verdict"

// encoding/binary would bring reflect into the guest.

func appendUint32(dst []byte, n uint32) []byte {
	return append(dst, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

func appendInt64(dst []byte, n int64) []byte {
	return appendUint32(appendUint32(dst, uint32(n)), uint32(n>>32))
}

func appendString(dst []byte, s string) []byte {
	return append(appendUint32(dst, uint32(len(s))), s...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = appendUint32(dst, uint32(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func appendFields(dst []byte, list []verdict.Field) []byte {
	dst = appendUint32(dst, uint32(len(list)))
	for _, f := range list {
		dst = appendString(appendString(dst, f.Name), f.Value)
	}
	return dst
}

// reader takes values off the front of an input. After the first fault it gives
// zero values. What it returns shares the input's memory.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) take(n int) string {
	if r.bad || n > len(r.rest) {
		r.bad = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) byte() byte {
	if s := r.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	s := r.take(4)
	if s == "" {
		return 0
	}
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func (r *reader) int64() int64 {
	low := uint64(r.uint32())
	return int64(low | uint64(r.uint32())<<32)
}

func (r *reader) string() string {
	n := r.uint32()
	if uint64(n) > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	return r.take(int(n))
}

// count reads the length of a list whose items take at least size bytes each, so
// that a false length cannot make anybody allocate more than the input is long.
func (r *reader) count(size int) int {
	n := r.uint32()
	if uint64(n)*uint64(size) > uint64(len(r.rest)) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) strings() []string {
	n := r.count(4)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.string()
	}
	return list
}

func (r *reader) fields(list []verdict.Field) []verdict.Field {
	for range r.count(8) {
		list = append(list, verdict.Field{Name: r.string(), Value: r.string()})
	}
	return list
}

// A code that this side does not know refuses all the same.
func (r *reader) reason() verdict.Reason { return verdict.Reason(r.byte()) }

func (r *reader) done() bool { return !r.bad && r.rest == "" }
