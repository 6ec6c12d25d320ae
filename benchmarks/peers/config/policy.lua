-- The policy as a careful operator would write it for speed: one table look-up for the key, one read and one write of a
-- 16-byte record in the shared dictionary for the bucket. With one worker nothing can come between the two.
local ffi = require "ffi"

ffi.cdef [[ typedef struct { double tokens; double at; } bucket_t; ]]

local record = ffi.new "bucket_t"
local size = ffi.sizeof "bucket_t"
local buckets = ngx.shared.buckets
local circuit = ngx.shared.circuit
local failure_threshold, recovery_seconds = 5, 30

local clients = {
    ["{{key}}"] = { per_second = {{per_second}}, burst = {{burst}} },
    ["{{metered_key}}"] = { per_second = {{metered_per_minute}} / 60, burst = {{metered_burst}} },
}

for _, client in pairs(clients) do
    client.policy = string.format('"default";q=%d;w=60', client.per_second * 60)
end

local policy = {}

local function take(key, client)
    local now = ngx.now()
    local stored = buckets:get(key)
    local tokens = client.burst
    if stored then
        ffi.copy(record, stored, size)
        tokens = math.min(client.burst, record.tokens + (now - record.at) * client.per_second)
    end
    local admitted = tokens >= 1
    record.tokens = admitted and tokens - 1 or tokens
    record.at = now
    buckets:set(key, ffi.string(record, size))
    return admitted, record.tokens
end

function policy.admit()
    local key = ngx.var.http_x_api_key
    local client = key and clients[key]
    if not client then
        return ngx.exit(401)
    end
    if not take(key, client) then
        return ngx.exit(429)
    end
end

-- The full variant: the same, with a circuit breaker before the upstream and the limit told to the client.
function policy.admit_and_tell()
    local key = ngx.var.http_x_api_key
    local client = key and clients[key]
    if not client then
        return ngx.exit(401)
    end
    local admitted, tokens = take(key, client)
    local left = math.floor(tokens)
    local reset = math.ceil((client.burst - tokens) / client.per_second)
    local header = ngx.header
    header["RateLimit-Policy"] = client.policy
    header["RateLimit"] = string.format('"default";r=%d;t=%d', left, reset)
    header["X-RateLimit-Limit"] = client.burst
    header["X-RateLimit-Remaining"] = left
    header["X-RateLimit-Reset"] = reset
    if not admitted then
        header["Retry-After"] = math.ceil((1 - tokens) / client.per_second)
        return ngx.exit(429)
    end
    if circuit:get("open") then
        return ngx.exit(503)
    end
end

function policy.report()
    if ngx.status < 500 then
        if circuit:get("failures") then
            circuit:delete("failures")
        end
    elseif circuit:incr("failures", 1, 0) >= failure_threshold then
        circuit:set("open", true, recovery_seconds)
        circuit:delete("failures")
    end
end

return policy
