package policy

// FetchableURL says whether keys may be fetched from a URL: it is https, or http to
// a loopback address, without userinfo and fragment. A policy's own URLs are checked
// already; this is for those that an issuer's metadata name.
func FetchableURL(url string) bool { return url != "" && checkURL(url) == "" }
