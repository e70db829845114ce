//go:build wasip1

package main

import (
	"unsafe"

	"sessiongate/wasm/httpwasm/internal/plugin"
)

// The calls of the http-wasm HTTP handler ABI that this guest makes. What fails on
// the proxy's side is a trap on this one. None of the calls comes back for memory.

//go:wasmimport http_handler log_enabled
func httpLogEnabled(level int32) uint32

//go:wasmimport http_handler log
func httpLog(level int32, message string)

//go:wasmimport http_handler enable_features
func httpEnableFeatures(features uint32) uint32

//go:wasmimport http_handler get_config
func httpGetConfig(buffer unsafe.Pointer, size uint32) uint32

//go:wasmimport http_handler get_method
func httpGetMethod(buffer unsafe.Pointer, size uint32) uint32

//go:wasmimport http_handler get_uri
func httpGetURI(buffer unsafe.Pointer, size uint32) uint32

//go:wasmimport http_handler set_uri
func httpSetURI(uri string)

//go:wasmimport http_handler get_header_names
func httpGetHeaderNames(kind uint32, buffer unsafe.Pointer, size uint32) uint64

//go:wasmimport http_handler get_header_values
func httpGetHeaderValues(kind uint32, name string, buffer unsafe.Pointer, size uint32) uint64

//go:wasmimport http_handler set_header_value
func httpSetHeaderValue(kind uint32, name, value string)

//go:wasmimport http_handler add_header_value
func httpAddHeaderValue(kind uint32, name, value string)

//go:wasmimport http_handler remove_header
func httpRemoveHeader(kind uint32, name string)

//go:wasmimport http_handler set_status_code
func httpSetStatusCode(status uint32)

//go:wasmimport http_handler write_body
func httpWriteBody(kind uint32, body unsafe.Pointer, size uint32)

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockTimeGet(clock uint32, precision uint64, time *uint64) uint32

const (
	featureTrailers = 4
	bodyResponse    = 1
	clockRealtime   = 0
)

// memory holds what the proxy has handed over during one request. The proxy writes
// where it is told to, if there is room; otherwise it tells how much it needs.
type memory struct {
	buffer []byte
	used   int
}

const (
	smallBuffer   = 4 << 10
	largestAnswer = 8 << 20
)

var answers memory

// forget lets go of what was handed over. A buffer that had to grow is not kept: a
// proxy may hold an instance for each request in flight.
func (m *memory) forget() {
	if len(m.buffer) != smallBuffer {
		m.buffer = make([]byte, smallBuffer)
	}
	m.used = 0
}

// read makes a call that writes to a buffer and returns how long its answer is.
func (m *memory) read(call func(buffer unsafe.Pointer, size uint32) uint32) (string, bool) {
	for range 2 {
		room := m.buffer[m.used:]
		n := call(unsafe.Pointer(unsafe.SliceData(room)), uint32(len(room)))
		if n <= uint32(len(room)) {
			m.used += int(n)
			return unsafe.String(unsafe.SliceData(room), n), true
		}
		if n > largestAnswer {
			break
		}
		// What was handed over before stays where it is.
		m.buffer, m.used = make([]byte, max(2*len(m.buffer), int(n))), 0
	}
	return "", false
}

// readList is read for a call that returns a count above the length.
func (m *memory) readList(call func(buffer unsafe.Pointer, size uint32) uint64) (text string, count int, ok bool) {
	text, ok = m.read(func(buffer unsafe.Pointer, size uint32) uint32 {
		n := call(buffer, size)
		count = int(n >> 32)
		return uint32(n)
	})
	return text, count, ok
}

var now uint64

// proxy makes plugin.Host's calls.
type proxy struct{}

func (proxy) Log(level plugin.Level, message string) {
	if httpLogEnabled(int32(level)) != 0 {
		httpLog(int32(level), message)
	}
}

func (proxy) Time() int64 {
	if clockTimeGet(clockRealtime, 1000, &now) != 0 {
		return 0
	}
	return int64(now)
}

func (proxy) Trailers() bool { return httpEnableFeatures(featureTrailers)&featureTrailers != 0 }

func (proxy) Forget() { answers.forget() }

func (proxy) Configuration() (string, bool) { return answers.read(httpGetConfig) }

func (proxy) Method() (string, bool) { return answers.read(httpGetMethod) }

func (proxy) URI() (string, bool) { return answers.read(httpGetURI) }

func (proxy) SetURI(uri string) { httpSetURI(uri) }

func (proxy) Names(m plugin.Map) (string, int, bool) {
	return answers.readList(func(buffer unsafe.Pointer, size uint32) uint64 {
		return httpGetHeaderNames(uint32(m), buffer, size)
	})
}

func (proxy) Values(m plugin.Map, name string) (string, int, bool) {
	return answers.readList(func(buffer unsafe.Pointer, size uint32) uint64 {
		return httpGetHeaderValues(uint32(m), name, buffer, size)
	})
}

func (proxy) Set(m plugin.Map, name, value string) { httpSetHeaderValue(uint32(m), name, value) }

func (proxy) Add(m plugin.Map, name, value string) { httpAddHeaderValue(uint32(m), name, value) }

func (proxy) Remove(m plugin.Map, name string) { httpRemoveHeader(uint32(m), name) }

func (proxy) Respond(status int, body []byte) {
	httpSetStatusCode(uint32(status))
	if len(body) > 0 {
		httpWriteBody(bodyResponse, unsafe.Pointer(unsafe.SliceData(body)), uint32(len(body)))
	}
}
