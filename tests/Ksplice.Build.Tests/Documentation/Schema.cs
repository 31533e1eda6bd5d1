// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;

namespace Ksplice.Build.Tests.Documentation;

/// <summary>
/// The JSON schemas in docs/, as far as they go: names, which must all be there in that order, and patterns and lists of texts.
/// </summary>
internal static class Schema
{
    /// <summary>Fails unless <paramref name="json"/> has exactly what the schema of that name says.</summary>
    public static void Check(string name, string json)
    {
        var schema = JsonNode.Parse(File.ReadAllText(Repository.At("docs", name)))!;
        Check(schema, schema, JsonNode.Parse(json));
    }

    private static void Check(JsonNode root, JsonNode schema, JsonNode? value)
    {
        if (schema["$ref"] is { } reference)
            schema = reference.GetValue<string>()["#/".Length..].Split('/').Aggregate(root, (node, name) => node[name]!);
        if (value is null)
        {
            Assert.Contains(schema["type"]!.AsArray(), type => type!.GetValue<string>() == "null");
            return;
        }
        if (schema["enum"] is JsonArray allowed)
            Assert.Contains(value.GetValue<string>(), allowed.Select(text => text!.GetValue<string>()));
        switch (value)
        {
            case JsonObject found:
                var properties = schema["properties"]!.AsObject();
                Assert.Equal(properties.Select(property => property.Key), found.Select(property => property.Key));
                Assert.Equal(
                    properties.Select(property => property.Key).Order(),
                    schema["required"]!.AsArray().Select(name => name!.GetValue<string>()).Order()
                );
                foreach (var (name, inner) in properties)
                    Check(root, inner!, found[name]);
                break;
            case JsonArray found:
                foreach (var item in found)
                    Check(root, schema["items"]!, item);
                break;
            default:
                if (schema["pattern"] is { } pattern)
                    Assert.Matches(pattern.GetValue<string>(), value.GetValue<string>());
                break;
        }
    }
}
