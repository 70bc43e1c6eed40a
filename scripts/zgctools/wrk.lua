-- Added to wrk by zgc-ab: the percentiles that `wrk --latency` does not print, in microseconds.
done = function(summary, latency, requests)
  io.write("zgc-ab latency")
  for _, p in ipairs({50, 75, 90, 99, 99.9, 99.99}) do
    io.write(string.format(" p%g %d", p, latency:percentile(p)))
  end
  local e = summary.errors
  io.write(string.format(" max %d\n", latency.max))
  io.write(string.format("zgc-ab totals requests %d us %d failed %d\n", summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
