# docker build -t gateway .
# docker run -v gateway:/var/lib/gateway -p 2222:2222 -p 2990:2990 -p 2587:2587 -p 2465:2465 -p 42000-42099:42000-42099 gateway
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /gateway ./cmd/gateway && mkdir -m 0700 /state

# Nothing but the binary and the public certificate authorities.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /gateway /usr/bin/gateway
COPY --from=build --chown=65532:65532 /state /var/lib/gateway
USER 65532:65532
VOLUME /var/lib/gateway
ENV GATEWAY_CONFIG=/var/lib/gateway/gateway.hcl
ENTRYPOINT ["/usr/bin/gateway"]
# The first start writes a configuration, which later starts keep.
CMD ["run", "--init"]
