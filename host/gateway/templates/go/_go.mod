module policies/{{NAME}}

go 1.25

require secmx v0.0.0

replace secmx => ./sdk
