// Package plugin is what the guest for http-wasm does, over an interface of the
// proxy's calls: it turns request heads into questions for the shared guest and
// carries its Decisions out. Key sets come from files, which something outside the
// proxy keeps up to date.
package plugin

// Level is the level of a log line.
type Level int32

// The levels that are used.
const (
	LevelInfo  Level = 0
	LevelWarn  Level = 1
	LevelError Level = 2
)

// Map is one of the header maps that a proxy holds.
type Map uint32

// The maps that are used.
const (
	RequestHeaders  Map = 0
	ResponseHeaders Map = 1
	RequestTrailers Map = 2
)

// Version tells one content of a file from another, as far as a look at its
// directory entry can.
type Version struct{ Device, Inode, Size, Written uint64 }

// Host is what the guest asks of the proxy. Strings that it returns are good until
// Forget; a bool that is false means that the answer is over all bounds. Whatever
// else goes wrong on the proxy's side ends the guest with a trap.
type Host interface {
	Log(level Level, message string)
	// Time is the wall clock in Unix nanoseconds, 0 if there is none.
	Time() int64
	// Trailers is whether the proxy shows trailers at all.
	Trailers() bool
	// Forget lets go of what was returned so far.
	Forget()
	Configuration() (string, bool)

	Method() (string, bool)
	// URI is the path and the query.
	URI() (string, bool)
	SetURI(uri string)
	// Names and Values are lists: each item has a zero byte behind it.
	Names(m Map) (list string, items int, ok bool)
	Values(m Map, name string) (list string, items int, ok bool)
	// Remove takes away every field of a name, Set puts one in place of them, Add one
	// beside them.
	Remove(m Map, name string)
	Set(m Map, name, value string)
	Add(m Map, name, value string)
	// Respond sends the answer, with the response headers that were set before.
	Respond(status int, body []byte)

	Stat(path string) (Version, error)
	// ReadFile reads a file, or a little more of it than the most that is wanted.
	ReadFile(path string, most int) ([]byte, error)
}
