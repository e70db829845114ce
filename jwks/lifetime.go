package jwks

import (
	"strconv"
	"strings"
)

// Lifetime is how many milliseconds a response may be cached (RFC 9111 section
// 4.2.1), less the time that it spent in caches on its way: an Answer's Lifetime, by
// the values of Cache-Control and Age. It is negative if Cache-Control does not say.
func Lifetime(cacheControl, age string) int64 {
	spent, _ := strconv.ParseInt(age, 10, 32)
	for rest, more := cacheControl, true; more; {
		var directive string
		directive, rest, more = strings.Cut(rest, ",")
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32); err == nil {
				return max(0, seconds-max(0, spent)) * 1000
			}
		}
	}
	return -1
}
