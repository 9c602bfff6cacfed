module secmx

go 1.25
