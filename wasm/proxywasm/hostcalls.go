//go:build wasip1

package main

import (
	"unsafe"

	"sessiongate/wasm/proxywasm/internal/plugin"
)

// The calls of proxy-wasm 0.2.1 that this guest makes. Every one returns a status.
// None is marked noescape: a call may come back for memory, collecting garbage then
// may move the stack, and the proxy would write to where a variable was. For the
// same reason results go to variables of the package.

//go:wasmimport env proxy_log
func proxyLog(level uint32, message string) uint32

//go:wasmimport env proxy_get_current_time_nanoseconds
func proxyGetCurrentTimeNanoseconds(time *uint64) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func proxySetTickPeriodMilliseconds(period uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(kind, start, size uint32, data *uint32, length *uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(kind uint32, data *uint32, length *uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeaderMapValue(kind uint32, name string) uint32

//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeaderMapValue(kind uint32, name, value string) uint32

//go:wasmimport env proxy_set_property
func proxySetProperty(path, value string) uint32

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(status uint32, details, body, headers string, grpcStatus int32) uint32

//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name string, id *uint32) uint32

//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(id uint32, by int64) uint32

//go:wasmimport env proxy_record_metric
func proxyRecordMetric(id uint32, value uint64) uint32

//go:wasmimport env proxy_http_call
func proxyHTTPCall(cluster, headers, body, trailers string, timeout uint32, call *uint32) uint32

//go:wasmimport env proxy_get_shared_data
func proxyGetSharedData(key string, data *uint32, length *uint32, cas *uint32) uint32

//go:wasmimport env proxy_set_shared_data
func proxySetSharedData(key, value string, cas uint32) uint32

const (
	bufferHTTPCallResponseBody = 4
	bufferPluginConfiguration  = 7

	metricCounter   = 0
	metricHistogram = 2
)

// memory holds what the proxy hands over: for each answer it asks for room by calling
// back into the guest. One buffer is enough, since every answer is good only until
// the next one.
type memory struct {
	small []byte // kept
	large []byte // an answer that is larger than most: dropped with the next one
}

const (
	smallAnswer   = 64 << 10 // as large as Envoy lets request headers become
	largestAnswer = 8 << 20
)

var answers memory

// result is what the proxy writes to.
var result struct {
	time       uint64
	data, size uint32
	cas, id    uint32
}

// room is called while a call of the proxy's runs, so it stays out of the guard of
// the entries: it touches nothing but its buffers.
func (m *memory) room(size uint32) unsafe.Pointer {
	m.large = nil
	switch {
	case size > largestAnswer:
		return nil // the proxy then fails the call
	case size > smallAnswer:
		m.large = make([]byte, size)
		return unsafe.Pointer(unsafe.SliceData(m.large))
	case m.small == nil:
		m.small = make([]byte, smallAnswer)
	}
	return unsafe.Pointer(unsafe.SliceData(m.small))
}

// text is an answer as a string over the buffer itself, without a copy.
func (m *memory) text(status uint32) (string, bool) {
	data, size := result.data, result.size
	if status != 0 {
		return "", false
	}
	if size == 0 {
		return "", true
	}
	for _, buffer := range [...][]byte{m.small, m.large} {
		base := unsafe.SliceData(buffer)
		if base != nil && uintptr(data) == uintptr(unsafe.Pointer(base)) && int(size) <= len(buffer) {
			return unsafe.String(base, size), true
		}
	}
	return "", false // the proxy put it somewhere else
}

func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// proxy makes plugin.Host's calls.
type proxy struct{}

func (proxy) Log(level plugin.Level, message string) { proxyLog(uint32(level), message) }

func (proxy) Time() int64 {
	if proxyGetCurrentTimeNanoseconds(&result.time) != 0 {
		return 0
	}
	return int64(result.time)
}

func (proxy) SetTick(period uint32) bool { return proxySetTickPeriodMilliseconds(period) == 0 }

func (proxy) Configuration(size uint32) (string, bool) {
	return bufferBytes(bufferPluginConfiguration, size)
}

func (proxy) CallBody(size uint32) (string, bool) {
	return bufferBytes(bufferHTTPCallResponseBody, size)
}

func bufferBytes(kind, size uint32) (string, bool) {
	if size == 0 {
		return "", true
	}
	return answers.text(proxyGetBufferBytes(kind, 0, size, &result.data, &result.size))
}

func (proxy) Pairs(m plugin.Map) (string, bool) {
	return answers.text(proxyGetHeaderMapPairs(uint32(m), &result.data, &result.size))
}

func (proxy) Remove(m plugin.Map, name string) bool {
	return proxyRemoveHeaderMapValue(uint32(m), name) == 0
}

func (proxy) Replace(m plugin.Map, name, value string) bool {
	return proxyReplaceHeaderMapValue(uint32(m), name, value) == 0
}

func (proxy) SetProperty(name, value string) bool { return proxySetProperty(name, value) == 0 }

func (proxy) Respond(status int, details string, headers, body []byte) bool {
	return proxySendLocalResponse(uint32(status), details, text(body), text(headers), -1) == 0
}

func (proxy) DefineCounter(name string) (id uint32, ok bool) {
	status := proxyDefineMetric(metricCounter, name, &result.id)
	return result.id, status == 0
}

func (proxy) DefineHistogram(name string) (id uint32, ok bool) {
	status := proxyDefineMetric(metricHistogram, name, &result.id)
	return result.id, status == 0
}

func (proxy) Count(id uint32) { proxyIncrementMetric(id, 1) }

func (proxy) Record(id uint32, value uint64) { proxyRecordMetric(id, value) }

func (proxy) Call(cluster string, headers []byte, timeout uint32) (call uint32, ok bool) {
	status := proxyHTTPCall(cluster, text(headers), "", "", timeout, &result.id)
	return result.id, status == 0
}

func (proxy) SharedGet(key string) (value string, cas uint32, status plugin.Status) {
	s := proxyGetSharedData(key, &result.data, &result.size, &result.cas)
	value, ok := answers.text(s)
	if s == 0 && !ok {
		return "", 0, plugin.StatusFailed
	}
	return value, result.cas, plugin.Status(s)
}

func (proxy) SharedSet(key string, value []byte, cas uint32) plugin.Status {
	return plugin.Status(proxySetSharedData(key, text(value), cas))
}
