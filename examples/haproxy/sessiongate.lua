-- http-request lua.sessiongate: asks `sessiongate authz` whether a request may pass. If so, it makes the header edits that the
-- answer says and sets txn.sessiongate to "pass"; if not, the client gets the answer. If anything fails the variable stays unset.
local url = os.getenv("SESSIONGATE_AUTHZ")

-- Headers of the connection and of the body, which is not sent along, and those in which HAProxy itself speaks to authz.
local not_asked = {
  ["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true,
  ["transfer-encoding"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true, ["http2-settings"] = true,
  ["accept-encoding"] = true,
}

-- Headers of the answer that are about the answer.
local not_copied = {
  ["connection"] = true, ["keep-alive"] = true, ["transfer-encoding"] = true, ["content-length"] = true, ["content-type"] = true,
  ["date"] = true, ["cache-control"] = true, ["x-sessiongate-path"] = true, ["x-sessiongate-remove"] = true,
}

-- Headers of a refusal that the client gets.
local told = {
  "content-type", "cache-control", "www-authenticate", "retry-after", "location", "ory-error-id", "grpc-status", "grpc-message",
  "x-sessiongate-reason",
}

-- values lists a header's values in their order: some tables of HAProxy's begin at 0, others at 1.
local function values(list)
  local all = {}
  if list then
    if list[0] then all[1] = list[0] end
    for _, v in ipairs(list) do all[#all + 1] = v end
  end
  return all
end

local function question(txn)
  local headers = {}
  for name, list in pairs(txn.http:req_get_headers()) do
    name = string.lower(name)
    if not not_asked[name] and string.sub(name, 1, 11) ~= "x-original-" then headers[name] = values(list) end
  end
  headers["x-original-method"] = { txn.sf:method() }
  headers["x-original-scheme"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
  headers["x-original-host"] = { txn.sf:req_fhdr("host") }
  headers["x-original-uri"] = { txn.sf:pathq() }
  return headers
end

core.register_action("sessiongate", { "http-req" }, function(txn)
  local answer = core.httpclient():get { url = url, headers = question(txn), timeout = 5000 }
  if not answer or not answer.status or answer.status < 200 then return end

  if answer.status == 200 then
    for name, list in pairs(answer.headers) do
      name = string.lower(name)
      if not not_copied[name] then -- what is empty is only taken away
        txn.http:req_del_header(name)
        for _, v in ipairs(values(list)) do
          if v ~= "" then txn.http:req_add_header(name, v) end
        end
      end
    end
    local path = values(answer.headers["x-sessiongate-path"])[1]
    if not path then return end
    txn.http:req_set_uri(path) -- the path that was judged, and no other
    txn:set_var("txn.sessiongate", "pass")
    return
  end

  local reply = txn:reply { status = answer.status, body = answer.body }
  local grpc = values(answer.headers["grpc-status"])[1]
  if grpc then reply:set_status(200) end
  for _, name in ipairs(told) do
    for _, v in ipairs(values(answer.headers[name])) do
      if not (grpc and name == "www-authenticate") then reply:add_header(name, v) end
    end
  end
  txn:done(reply)
end, 0)
