// Package plugin is what the guest for proxy-wasm does, over an interface of the
// proxy's calls: it turns request heads into questions for the shared guest, carries
// its Decisions out, and drives the refresh of key sets beside the requests.
package plugin

// Level is the level of a log line.
type Level uint32

// The levels that are used.
const (
	LevelInfo     Level = 2
	LevelWarn     Level = 3
	LevelCritical Level = 5
)

// Map is one of the header maps that a proxy holds.
type Map uint32

// The maps that are used.
const (
	RequestHeaders      Map = 0
	RequestTrailers     Map = 1
	CallResponseHeaders Map = 6
)

// Status is how a call to the proxy ended.
type Status uint32

// The statuses that make a difference.
const (
	StatusOK          Status = 0
	StatusNotFound    Status = 1
	StatusCASMismatch Status = 8
	StatusFailed      Status = 10
)

// Action is what a proxy does with a request after an entry.
type Action uint32

// The actions.
const (
	Continue Action = 0
	Pause    Action = 1 // the local answer is all there is; without one the request waits until it times out
)

// Host is what the guest asks of the proxy. A string that a call returns is good
// until the next call that returns one; a bool that is false means that the proxy
// could not do it.
type Host interface {
	Log(level Level, message string)
	// Time is the wall clock in Unix nanoseconds, 0 if there is none.
	Time() int64
	// SetTick asks for a Tick every so many milliseconds, for the context at hand.
	SetTick(milliseconds uint32) bool
	// Configuration is the plugin's, while it is being configured.
	Configuration(size uint32) (string, bool)

	// Pairs is a header map, encoded: see appendFields.
	Pairs(m Map) (string, bool)
	// Remove takes away every field of a name, Replace puts one in place of them.
	Remove(m Map, name string) bool
	Replace(m Map, name, value string) bool
	// SetProperty makes filter state for the filters behind and the access log.
	SetProperty(name, value string) bool
	// Respond answers the request at hand. details go to the access log; headers are
	// encoded like Pairs, and the proxy checks none of them.
	Respond(status int, details string, headers, body []byte) bool

	DefineCounter(name string) (id uint32, ok bool)
	DefineHistogram(name string) (id uint32, ok bool)
	Count(id uint32)
	Record(id uint32, value uint64)

	// Call sends a request without body to a cluster. A CallResponse follows if ok, unless
	// the context goes away; a timeout in milliseconds comes as a response too.
	Call(cluster string, headers []byte, timeout uint32) (call uint32, ok bool)
	// CallBody is the body of the response at hand.
	CallBody(size uint32) (string, bool)

	// SharedGet and SharedSet are the data that all threads share. cas names the version
	// of a value; a set with another one than the newest is a StatusCASMismatch, and
	// one with 0 is not compared.
	SharedGet(key string) (value string, cas uint32, status Status)
	SharedSet(key string, value []byte, cas uint32) Status
}
