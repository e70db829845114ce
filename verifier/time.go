package verifier

import "strconv"

// The guest does without package time: these few lines are what it needs of it.

// parseRFC3339 reads a date-time as Unix milliseconds. A fraction finer than a
// millisecond is cut off.
func parseRFC3339(s []byte) (int64, bool) {
	// 2006-01-02T15:04:05[.fraction](Z|±hh:mm)
	if len(s) < 20 || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	year, ok1 := digits(s[0:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	hour, ok4 := digits(s[11:13])
	minute, ok5 := digits(s[14:16])
	second, ok6 := digits(s[17:19])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || month < 1 || month > 12 ||
		day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	ms, rest := int64(0), s[19:]
	if rest[0] == '.' {
		n := 1
		for scale := int64(100); n < len(rest) && rest[n]-'0' < 10; n++ {
			ms += int64(rest[n]-'0') * scale
			scale /= 10
		}
		if n == 1 {
			return 0, false
		}
		rest = rest[n:]
	}
	offset := 0
	switch {
	case len(rest) == 1 && rest[0]|0x20 == 'z':
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, ok1 := digits(rest[1:3])
		m, ok2 := digits(rest[4:6])
		if !ok1 || !ok2 || h > 23 || m > 59 {
			return 0, false
		}
		if offset = h*60 + m; rest[0] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	seconds := daysFromCivil(year, month, day)*86400 + int64(hour*3600+minute*60+second) - int64(offset)*60
	return seconds*1000 + ms, true
}

func digits(s []byte) (n int, ok bool) {
	for _, c := range s {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysFromCivil counts the days from 1970-01-01 to a date of the Gregorian
// calendar. The year is taken to begin in March, so that a leap day is its last.
func daysFromCivil(year, month, day int) int64 {
	if month <= 2 {
		year--
	}
	era := floorDiv(int64(year), 400)
	ofEra := int64(year) - era*400
	ofYear := int64((153*((month+9)%12)+2)/5 + day - 1)
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// FormatTime writes Unix milliseconds as a UTC date-time of RFC 3339, without
// the fraction; beyond the years 0 to 9999, as a plain number.
func FormatTime(ms int64) string {
	seconds := floorDiv(ms, 1000)
	days := floorDiv(seconds, 86400)
	if days < -719528 || days > 2932896 {
		return strconv.FormatInt(ms, 10) + " ms"
	}
	z := days + 719468
	era := floorDiv(z, 146097)
	ofEra := z - era*146097
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*ofYear + 2) / 153
	day, month := ofYear-(153*shifted+2)/5+1, (shifted+2)%12+1
	year := yearOfEra + era*400
	if month <= 2 {
		year++
	}
	of := seconds - days*86400
	b := appendPadded(nil, year, 4)
	b = appendPadded(append(b, '-'), month, 2)
	b = appendPadded(append(b, '-'), day, 2)
	b = appendPadded(append(b, 'T'), of/3600, 2)
	b = appendPadded(append(b, ':'), of/60%60, 2)
	b = appendPadded(append(b, ':'), of%60, 2)
	return string(append(b, 'Z'))
}

func appendPadded(b []byte, n int64, width int) []byte {
	s := strconv.FormatInt(n, 10)
	for i := len(s); i < width; i++ {
		b = append(b, '0')
	}
	return append(b, s...)
}
